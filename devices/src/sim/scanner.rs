//! A simulated serial scanner: a pseudo-terminal behind a link that stays the same.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::frame::Terminator;

/// How long a scan waits for a program to open the port, unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How soon a blocked scan notices that a program opened the port, or that the cable was pulled.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A scanner that a program can open at [`path`](Self::path) as it would a serial port.
///
/// The link names the scanner for as long as it is plugged in; at each [`replug`](Self::replug) it leads to a
/// new terminal. It does not depend on who has it open: a reader can die and another can open it.
///
/// A scan waits until a program has the port open, and then until the terminal (it holds some 20 KiB) has taken every
/// byte; so it never loses bytes to a slow reader. What a reader had not read when it died waits for the next
/// one; that can be the end of a scan. What was not read when the scanner is unplugged is gone.
#[derive(Debug)]
pub struct SimScanner {
    link: PathBuf,
    terminator: Terminator,
    patience: Duration,
    /// Held while bytes are written, so that scans do not mix.
    plugged: Mutex<Option<Terminal>>,
    /// Tells a scan that is being written to give up.
    cut: AtomicBool,
}

impl SimScanner {
    /// Plugs in a scanner at `link`, which is created, or replaced if it is a symbolic link, with CR as terminator.
    ///
    /// # Errors
    /// No terminal is to be had, or `link` cannot be made: `AlreadyExists` if something else is there.
    pub fn new(link: &Path) -> io::Result<Self> {
        Self::with(link, Terminator::Cr, PATIENCE)
    }

    /// The same with another terminator, and another time that a scan waits for a program to open the port.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(link: &Path, terminator: Terminator, patience: Duration) -> io::Result<Self> {
        let terminal = Terminal::open()?;
        point(link, &terminal.node)?;
        Ok(Self {
            link: link.to_owned(),
            terminator,
            patience,
            plugged: Mutex::new(Some(terminal)),
            cut: AtomicBool::new(false),
        })
    }

    /// The link.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.link
    }

    /// Sends one scan: the bytes and the terminator.
    ///
    /// # Errors
    /// `NotConnected` if unplugged, `BrokenPipe` if unplugged meanwhile (part of the scan may have gone),
    /// `TimedOut` if no program has the port open for the whole of the patience.
    pub fn scan(&self, bytes: &[u8]) -> io::Result<()> {
        self.send(&[bytes, self.terminator.bytes()].concat())
    }

    /// Sends the first half of the bytes and no terminator.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn half_scan(&self, bytes: &[u8]) -> io::Result<()> {
        let (half, _) = bytes.split_at(bytes.len().div_ceil(2));
        self.send(half)
    }

    /// Sends the same scan twice, as a bouncing trigger does.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn double_scan(&self, bytes: &[u8]) -> io::Result<()> {
        let scan = [bytes, self.terminator.bytes()].concat();
        self.send(&[scan.as_slice(), scan.as_slice()].concat())
    }

    /// Sends exactly these bytes.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let plugged = self.plugged();
        let terminal = plugged.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        terminal.write(bytes, self.patience, &self.cut)
    }

    /// Pulls the cable: the port is gone, and the link with it. A scan under way is cut off. Unplugging twice is
    /// unplugging once.
    ///
    /// # Errors
    /// The link cannot be removed.
    pub fn unplug(&self) -> io::Result<()> {
        self.cut.store(true, Ordering::SeqCst);
        let mut plugged = self.plugged();
        self.cut.store(false, Ordering::SeqCst);
        match plugged.take() {
            Some(terminal) => remove(&self.link, &terminal.node),
            None => Ok(()),
        }
    }

    /// Plugs the scanner in again, with a new terminal behind the same link. Plugged in already, it is pulled first.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`unplug`](Self::unplug).
    pub fn replug(&self) -> io::Result<()> {
        self.unplug()?;
        let terminal = Terminal::open()?;
        point(&self.link, &terminal.node)?;
        *self.plugged() = Some(terminal);
        Ok(())
    }

    /// Whether a program has the port open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.plugged().as_ref().is_some_and(|terminal| terminal.has_reader().unwrap_or(false))
    }

    fn plugged(&self) -> MutexGuard<'_, Option<Terminal>> {
        self.plugged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SimScanner {
    fn drop(&mut self) {
        if let Err(error) = self.unplug() {
            tracing::warn!(error = %error, "the simulated scanner's link stays behind");
        }
    }
}

/// Both ends of a pseudo-terminal: ours open, the other by name.
#[derive(Debug)]
struct Terminal {
    ours: OwnedFd,
    node: PathBuf,
}

impl Terminal {
    fn open() -> io::Result<Self> {
        let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&ours)?;
        rustix::pty::unlockpt(&ours)?;
        let node = rustix::pty::ptsname(&ours, Vec::new())?;
        let node = PathBuf::from(node.into_string().map_err(|_| io::ErrorKind::InvalidData)?);
        // Raw before anybody can open it, or the line discipline would translate CR and echo. Opening and closing
        // the other end once also makes the kernel report from now on whether it is open.
        let theirs = rustix::fs::open(&node, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let mut line = tcgetattr(&theirs)?;
        line.make_raw();
        tcsetattr(&theirs, OptionalActions::Now, &line)?;
        rustix::fs::fcntl_setfl(&ours, OFlags::RDWR | OFlags::NONBLOCK)?;
        Ok(Self { ours, node })
    }

    fn write(&self, mut bytes: &[u8], patience: Duration, cut: &AtomicBool) -> io::Result<()> {
        let mut deserted_since = Instant::now();
        while !bytes.is_empty() {
            if cut.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let flags = self.poll(PollFlags::OUT)?;
            if flags.contains(PollFlags::HUP) {
                if deserted_since.elapsed() >= patience {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "no program has the port open"));
                }
                std::thread::park_timeout(LOOK_AGAIN);
                continue;
            }
            deserted_since = Instant::now();
            if flags.contains(PollFlags::OUT) {
                match rustix::io::write(&self.ours, bytes) {
                    Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                    Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn has_reader(&self) -> io::Result<bool> {
        Ok(!self.poll(PollFlags::empty())?.contains(PollFlags::HUP))
    }

    fn poll(&self, wanted: PollFlags) -> io::Result<PollFlags> {
        let mut ends = [PollFd::new(&self.ours, wanted)];
        let wait = if wanted.is_empty() { Duration::ZERO } else { LOOK_AGAIN };
        let wait = Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?;
        match rustix::event::poll(&mut ends, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(ends.first().map_or(PollFlags::empty(), PollFd::revents))
    }
}

/// Makes `link` lead to `node` in one step, so that it never leads nowhere in between.
fn point(link: &Path, node: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(link) {
        Ok(found) if !found.file_type().is_symlink() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there and is not a symbolic link", link.display()),
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut fresh = link.as_os_str().to_owned();
    fresh.push(format!(".{}.new", std::process::id()));
    let fresh = PathBuf::from(fresh);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(node, &fresh)?;
    std::fs::rename(&fresh, link)
}

/// Removes the link unless somebody else has pointed it elsewhere.
fn remove(link: &Path, node: &Path) -> io::Result<()> {
    match std::fs::read_link(link) {
        Ok(target) if target == node => std::fs::remove_file(link),
        _ => Ok(()),
    }
}
