//! One connection to a printer: questions, answers, a job's bytes. Every wait is short; the driver counts.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::PrinterBinding;
use super::status::{HostStatus, NotZpl, QUESTION, StatusReader};
use crate::event::Written;

/// The longest that one read or write waits, so that the printer's thread hears what it is told meanwhile.
const SLICE: Duration = Duration::from_millis(20);
/// A printer that was just left may need a moment before it takes the next connection.
const AGAIN: Duration = Duration::from_millis(200);

/// An open connection.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    reader: StatusReader,
}

/// What came of reading for a moment.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing.
    Nothing,
    /// These answers; none if an answer has only begun.
    Answers(Vec<Result<HostStatus, NotZpl>>),
    /// The connection is gone.
    Lost,
}

impl Link {
    /// Connects within `patience`; a refusal is asked again once.
    pub(super) fn open(binding: &PrinterBinding, patience: Duration) -> io::Result<Self> {
        let begun = Instant::now();
        let addresses: Vec<SocketAddr> = (binding.host.as_str(), binding.port).to_socket_addrs()?.collect();
        let connect = || {
            let mut failed = io::Error::from(ErrorKind::NotFound);
            for address in &addresses {
                let left = patience.saturating_sub(begun.elapsed());
                if left.is_zero() {
                    return Err(ErrorKind::TimedOut.into());
                }
                match TcpStream::connect_timeout(address, left) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => failed = error,
                }
            }
            Err(failed)
        };
        let stream = match connect() {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && AGAIN < patience => {
                std::thread::park_timeout(AGAIN);
                connect()?
            }
            connected => connected?,
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(SLICE))?;
        Ok(Self { stream, reader: StatusReader::default() })
    }

    /// Asks how the printer stands.
    pub(super) fn ask(&mut self, patience: Duration) -> io::Result<()> {
        match self.write(QUESTION, patience, || false) {
            Written::All => Ok(()),
            Written::Nothing | Written::Partial => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    /// Reads for a moment.
    pub(super) fn hear(&mut self) -> Heard {
        let mut space = [0_u8; 1_024];
        match self.stream.read(&mut space) {
            Ok(0) => Heard::Lost,
            Ok(count) => {
                let mut answers = Vec::new();
                self.reader.push(space.get(..count).unwrap_or_default(), &mut answers);
                Heard::Answers(answers)
            }
            Err(error) if is_silence(&error) => Heard::Nothing,
            Err(_) => Heard::Lost,
        }
    }

    /// The connection stands, nothing is on its way from the printer, and no answer is half here: what comes from
    /// now on answers what is sent from now on.
    pub(super) fn is_quiet(&mut self) -> bool {
        if self.reader.is_within() || self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let quiet = matches!(self.stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).is_ok() && quiet
    }

    /// Hands all bytes to the connection, unless it breaks, `patience` runs out or `stop` says so.
    pub(super) fn write(&mut self, bytes: &[u8], patience: Duration, stop: impl Fn() -> bool) -> Written {
        let begun = Instant::now();
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if is_silence(&error) && begun.elapsed() < patience && !stop() => {}
                _ if rest.len() == bytes.len() => return Written::Nothing,
                _ => return Written::Partial,
            }
        }
        Written::All
    }
}

impl Drop for Link {
    /// Says goodbye, so that the printer is free for the next at once.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
