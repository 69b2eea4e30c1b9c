//! `lotgate-sim`: simulated devices for demonstration, training and tests.

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
    }
}

#[cfg(not(unix))]
fn main() -> std::io::Result<ExitCode> {
    use std::io::Write;
    let Arguments { what: What::Scanner { .. } | What::Scan { .. } } = Arguments::parse();
    writeln!(std::io::stderr(), "lotgate-sim needs a pseudo-terminal, which this system has not")?;
    Ok(ExitCode::from(2))
}

#[cfg(unix)]
mod unix {
    use std::io::{BufRead, Write};
    use std::path::Path;
    use std::process::ExitCode;
    use std::sync::Arc;

    use anyhow::Context;
    use lotgate_devices::frame::Terminator;
    use lotgate_devices::sim::command::render_scan;
    use lotgate_devices::sim::control::{ControlledScanner, ask, reason};
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
            scanner
                .serve(socket)
                .with_context(|| format!("cannot be controlled over {}", socket.display()))?;
        }
        for line in std::io::stdin().lock().lines() {
            let line = line.context("cannot read standard input")?;
            if line.is_empty() {
                continue;
            }
            if let Err(error) = scanner.obey(&line) {
                writeln!(std::io::stderr(), "{line}: {}", reason(&error))?;
            }
        }
        loop {
            std::thread::park();
        }
    }

    pub(super) fn scan(to: &Path, data: &str) -> anyhow::Result<ExitCode> {
        let is_line = data.starts_with(['"', '!']) && !data.contains('\n');
        let line = if is_line { data.to_owned() } else { render_scan(data) };
        ask(to, &line)?;
        Ok(ExitCode::SUCCESS)
    }
}
