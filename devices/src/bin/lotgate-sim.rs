//! `lotgate-sim`: simulated devices for demonstration, training and tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use lotgate_devices::frame::Terminator;

/// Simulated devices for demonstration, training and tests.
#[derive(Parser)]
#[command(name = "lotgate-sim", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Plug in a simulated serial scanner and scan what is read on standard input, one scan a line
    ///
    /// A line is scanned as it stands; one that starts with a quotation mark is a JSON string ("]C10104\u001d21").
    /// A scan waits up to 30 s for a program to open the port; then it is refused.
    ///
    /// Commands: !unplug, !replug, !half DATA, !double DATA, !noise HEX. The scanner stays plugged in after the
    /// end of the input, until the program is ended.
    Scanner {
        /// The link that names the port; replaced if it is a symbolic link
        #[arg(long)]
        link: PathBuf,
        /// A Unix socket for `lotgate-sim scan`
        #[arg(long)]
        control: Option<PathBuf>,
        /// Whether the scanner sends AIM identifiers; if off, they are left out of what is scanned
        #[arg(long, value_enum, default_value_t = Switch::On)]
        aim: Switch,
        /// What the scanner sends after each scan
        #[arg(long, value_enum, default_value_t = End::Cr)]
        terminator: End,
    },
    /// Switch on a simulated label printer on a TCP port; its faults are read on standard input, one a line
    ///
    /// It says where it listens on standard output. Each label becomes label-001.zpl and label-001.png, and so on.
    ///
    /// Faults: ok, paper_out, head_open, says_paper_out, says_ribbon_out, says_head_open, says_hot, paused, slow,
    /// buffer_full, drop_at BYTE, lose, twice, wrong_language, silent, off. Each stays until the next. The printer
    /// stays on after the end of the input, until the program is ended.
    Printer {
        /// Where it listens; port 0 is any free one
        #[arg(long, default_value = "127.0.0.1:9100")]
        listen: SocketAddr,
        /// The folder of the labels
        #[arg(long)]
        out: PathBuf,
        /// A Unix socket for `lotgate-sim tell`
        #[arg(long)]
        control: Option<PathBuf>,
    },
    /// Tell a running simulated device one line, and return when it has obeyed
    Tell {
        /// The control socket of the running device
        #[arg(long)]
        to: PathBuf,
        /// A line as the device reads it on its standard input
        line: String,
    },
    /// Scan with a running simulated scanner, and return when the scan is sent
    Scan {
        /// The control socket of the running scanner
        #[arg(long)]
        to: PathBuf,
        /// A line as `lotgate-sim scanner` reads it
        data: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
enum End {
    Cr,
    Lf,
    Crlf,
    Etx,
}

impl From<End> for Terminator {
    fn from(end: End) -> Self {
        match end {
            End::Cr => Self::Cr,
            End::Lf => Self::Lf,
            End::Crlf => Self::CrLf,
            End::Etx => Self::Etx,
        }
    }
}

#[cfg(unix)]
fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().what {
        What::Scanner { link, control, aim, terminator } => {
            let aim = matches!(aim, Switch::On);
            unix::scanner(&link, control.as_deref(), aim, terminator.into())
        }
        What::Scan { to, data } => unix::scan(&to, &data),
        What::Printer { listen, out, control } => unix::printer(listen, &out, control.as_deref()),
        What::Tell { to, line } => unix::tell(&to, &line),
    }
}

#[cfg(not(unix))]
fn main() -> anyhow::Result<ExitCode> {
    use lotgate_devices::sim::printer::{LABEL_TIME, SimPrinter};
    use std::io::{BufRead, Write};
    let What::Printer { listen, out, control: None } = Arguments::parse().what else {
        writeln!(
            std::io::stderr(),
            "this needs a pseudo-terminal or Unix socket, which this system has not"
        )?;
        return Ok(ExitCode::from(2));
    };
    let printer = SimPrinter::new(listen, Some(&out), LABEL_TIME)?;
    writeln!(std::io::stdout(), "{}", printer.address())?;
    for line in std::io::stdin().lock().lines() {
        match line?.parse() {
            Ok(fault) => printer.set(fault),
            Err(error) => writeln!(std::io::stderr(), "{error}")?,
        }
    }
    loop {
        std::thread::park();
    }
}

#[cfg(unix)]
mod unix {
    use std::io::{BufRead, Write};
    use std::net::SocketAddr;
    use std::path::Path;
    use std::process::ExitCode;
    use std::sync::Arc;

    use anyhow::Context;
    use lotgate_devices::frame::Terminator;
    use lotgate_devices::sim::command::render_scan;
    use lotgate_devices::sim::control::{ControlledScanner, Obey, ask, reason, serve};
    use lotgate_devices::sim::printer::{LABEL_TIME, SimPrinter};
    use lotgate_devices::sim::scanner::{PATIENCE, SimScanner};

    pub(super) fn scanner(
        link: &Path,
        control: Option<&Path>,
        aim: bool,
        terminator: Terminator,
    ) -> anyhow::Result<ExitCode> {
        let scanner = SimScanner::with(link, terminator, PATIENCE)
            .with_context(|| format!("cannot plug in a scanner at {}", link.display()))?;
        let scanner = Arc::new(ControlledScanner::new(scanner, aim));
        if let Some(socket) = control {
            serve(&scanner, socket)
                .with_context(|| format!("cannot be controlled over {}", socket.display()))?;
        }
        obey_input(&*scanner)
    }

    pub(super) fn printer(
        listen: SocketAddr,
        out: &Path,
        control: Option<&Path>,
    ) -> anyhow::Result<ExitCode> {
        let printer = SimPrinter::new(listen, Some(out), LABEL_TIME)
            .with_context(|| format!("cannot switch on a printer at {listen}"))?;
        let printer = Arc::new(printer);
        if let Some(socket) = control {
            serve(&printer, socket)
                .with_context(|| format!("cannot be controlled over {}", socket.display()))?;
        }
        writeln!(std::io::stdout(), "{}", printer.address())?;
        obey_input(&*printer)
    }

    /// The device stays when the input ends.
    fn obey_input(device: &impl Obey) -> anyhow::Result<ExitCode> {
        for line in std::io::stdin().lock().lines() {
            let line = line.context("cannot read standard input")?;
            if line.is_empty() {
                continue;
            }
            if let Err(error) = device.obey(&line) {
                writeln!(std::io::stderr(), "{line}: {}", reason(&error))?;
            }
        }
        loop {
            std::thread::park();
        }
    }

    pub(super) fn tell(to: &Path, line: &str) -> anyhow::Result<ExitCode> {
        ask(to, line)?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) fn scan(to: &Path, data: &str) -> anyhow::Result<ExitCode> {
        let is_line = data.starts_with(['"', '!']) && !data.contains('\n');
        let line = if is_line { data.to_owned() } else { render_scan(data) };
        ask(to, &line)?;
        Ok(ExitCode::SUCCESS)
    }
}
