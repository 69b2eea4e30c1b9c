//! Simulated devices that obey lines, from a terminal or from other programs over a Unix socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use super::command::{Command, CommandError, parse_command, without_aim_identifier};
use super::printer::{FaultError, SimPrinter};
use super::scanner::SimScanner;

/// The answer to a line that was obeyed; any other answer says why it was not.
const OBEYED: &str = "ok";

/// A simulated device that obeys lines.
pub trait Obey: Send + Sync + 'static {
    /// Does what one line says, and returns when it is done.
    ///
    /// # Errors
    /// The line is no command of the device, or the device cannot do it at the moment.
    fn obey(&self, line: &str) -> Result<(), ObeyError>;
}

/// A simulated scanner that obeys lines.
#[derive(Debug)]
pub struct ControlledScanner {
    scanner: SimScanner,
    aim: bool,
}

/// Why a line was not obeyed.
#[derive(Debug, thiserror::Error)]
pub enum ObeyError {
    /// It is no command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It is no fault of a printer.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The scanner could not do it.
    #[error("the scanner could not do it")]
    Scanner(#[source] io::Error),
}

/// Why a running simulator did not obey.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No simulator answers at the socket.
    #[error("no simulator answers")]
    NoAnswer(#[source] io::Error),
    /// It answered with a reason.
    #[error("the simulator did not do it: {reason}")]
    NotObeyed {
        /// The simulator's own words.
        reason: String,
    },
}

impl ControlledScanner {
    /// Takes charge of a scanner. Without `aim`, scans are sent as by a scanner that is not configured to send
    /// AIM identifiers.
    #[must_use]
    pub fn new(scanner: SimScanner, aim: bool) -> Self {
        Self { scanner, aim }
    }

    fn sent<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        if self.aim { bytes } else { without_aim_identifier(bytes) }
    }
}

/// Each line is a [`Command`].
impl Obey for ControlledScanner {
    fn obey(&self, line: &str) -> Result<(), ObeyError> {
        match parse_command(line)? {
            Command::Scan(bytes) => self.scanner.scan(self.sent(&bytes)),
            Command::Double(bytes) => self.scanner.double_scan(self.sent(&bytes)),
            Command::Half(bytes) => self.scanner.half_scan(self.sent(&bytes)),
            Command::Noise(bytes) => self.scanner.send(&bytes),
            Command::Unplug => self.scanner.unplug(),
            Command::Replug => self.scanner.replug(),
        }
        .map_err(ObeyError::Scanner)
    }
}

/// Each line is a [`Fault`](super::printer::Fault), which stays until the next.
impl Obey for SimPrinter {
    fn obey(&self, line: &str) -> Result<(), ObeyError> {
        self.set(line.parse()?);
        Ok(())
    }
}

/// Has a device obey lines from a socket, each connection on a thread of its own, answering each line with `ok` or
/// the reason why not. A socket left behind by a simulator that is gone is replaced.
///
/// # Errors
/// The socket cannot be made: `AddrInUse` if a simulator answers there or something else is there.
pub fn serve<D: Obey>(device: &Arc<D>, socket: &Path) -> io::Result<()> {
    let listener = bind(socket)?;
    let device = Arc::clone(device);
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        for stream in listener.incoming() {
            let device = Arc::clone(&device);
            let connection = stream.and_then(|stream| {
                std::thread::Builder::new().spawn(move || {
                    if let Err(error) = converse(&*device, &stream) {
                        tracing::debug!(%error, "a control connection ended");
                    }
                })
            });
            if let Err(error) = connection {
                tracing::warn!(%error, "a control connection failed");
            }
        }
    })?;
    Ok(())
}

fn converse(device: &impl Obey, stream: &UnixStream) -> io::Result<()> {
    let mut answers = stream;
    for line in BufReader::new(stream).lines() {
        match device.obey(&line?) {
            Ok(()) => writeln!(answers, "{OBEYED}")?,
            Err(error) => writeln!(answers, "{}", reason(&error))?,
        }
    }
    Ok(())
}

/// An error and its causes in one line.
#[must_use]
pub fn reason(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(|error| error.to_string().replace('\n', " ")).collect::<Vec<_>>().join(": ")
}

/// Sends one line to the simulator at `socket` and waits until it has obeyed.
///
/// # Errors
/// Nobody answers, or the simulator did not obey.
pub fn ask(socket: &Path, line: &str) -> Result<(), AskError> {
    let converse = || -> io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        writeln!(stream, "{line}")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        BufReader::new(stream).lines().next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    };
    match converse() {
        Ok(answer) if answer == OBEYED => Ok(()),
        Ok(reason) => Err(AskError::NotObeyed { reason }),
        Err(error) => Err(AskError::NoAnswer(error)),
    }
}

fn bind(socket: &Path) -> io::Result<UnixListener> {
    let left_behind = std::fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket())
        && UnixStream::connect(socket).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if left_behind {
        std::fs::remove_file(socket)?;
    }
    UnixListener::bind(socket)
}
