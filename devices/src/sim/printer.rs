//! A simulated label printer on a TCP port: it speaks as much ZPL as a station needs, prints on files, and fails on
//! demand.

mod machine;
mod paper;

pub use machine::{Fault, FaultError, Said};

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use machine::Machine;

/// How long one label takes, unless told otherwise.
pub const LABEL_TIME: Duration = Duration::from_millis(300);

/// How soon it notices what happens outside.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A printer that a program can reach at [`address`](Self::address). Like many a real one it talks to one program
/// at a time; others wait in line. Its paper outlives connections and faults.
#[derive(Debug)]
pub struct SimPrinter {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    machine: Machine,
    labels: Vec<Vec<u8>>,
    stop: bool,
}

impl SimPrinter {
    /// Switches a printer on that needs `label_time` for each label and writes each to `out` as `label-001.zpl` and
    /// `label-001.png`, if there is an `out`; numbers go on behind labels that lie there.
    ///
    /// # Errors
    /// The address cannot be listened on, or `out` cannot be made.
    pub fn new(listen: SocketAddr, out: Option<&Path>, label_time: Duration) -> io::Result<Self> {
        let listener = bind(listen)?;
        let address = listener.local_addr()?;
        let paper = out.map(paper::Paper::in_folder).transpose()?;
        let inner = Inner { machine: Machine::new(label_time), labels: Vec::new(), stop: false };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), changed: Condvar::new() });
        let mut printer = Printer { address, shared: Arc::clone(&shared), listener: Some(listener), paper };
        let thread =
            std::thread::Builder::new().name("sim-printer".to_owned()).spawn(move || printer.run())?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is wrong with it from now on.
    pub fn set(&self, fault: Fault) {
        self.shared.inner().machine.set(fault);
        self.shared.changed.notify_all();
    }

    /// Every label that came out, as ZPL from `^XA` to `^XZ`, in order.
    #[must_use]
    pub fn labels(&self) -> Vec<Vec<u8>> {
        self.shared.inner().labels.clone()
    }

    /// How often it was asked how it stands.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.shared.inner().machine.questions()
    }

    /// Whole formats that it has and has not printed.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.inner().machine.waiting()
    }

    /// Waits until `count` labels in all have come out; false if they do not within `patience`.
    #[must_use]
    pub fn wait_labels(&self, count: usize, patience: Duration) -> bool {
        let inner = self.shared.inner();
        let few = |inner: &mut Inner| inner.labels.len() < count;
        let waited = self.shared.changed.wait_timeout_while(inner, patience, few);
        waited.unwrap_or_else(PoisonError::into_inner).0.labels.len() >= count
    }
}

impl Drop for SimPrinter {
    fn drop(&mut self) {
        self.shared.inner().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the simulated printer ended abnormally");
        }
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The thread's side.
struct Printer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<TcpListener>,
    paper: Option<paper::Paper>,
}

impl Printer {
    fn run(&mut self) {
        let mut connection: Option<TcpStream> = None;
        loop {
            let (printed, off, stalled) = {
                let mut inner = self.shared.inner();
                if inner.stop {
                    return;
                }
                let printed = inner.machine.tick(Instant::now());
                (printed, inner.machine.is_off(), inner.machine.is_stalled())
            };
            for label in printed {
                self.print(label);
            }
            if off {
                connection = None;
                self.listener = None;
            } else if self.listener.is_none() {
                self.listener = bind(self.address).ok();
            }
            match &mut connection {
                Some(_) if stalled => self.wait(),
                Some(stream) => {
                    if !self.talk(stream) {
                        connection = None;
                        self.shared.inner().machine.hang_up();
                    }
                }
                None => {
                    connection = self.accept();
                    if connection.is_none() {
                        self.wait();
                    }
                }
            }
        }
    }

    fn accept(&self) -> Option<TcpStream> {
        let (stream, _) = self.listener.as_ref()?.accept().ok()?;
        stream.set_nonblocking(false).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(LOOK_AGAIN)).ok()?;
        stream.set_write_timeout(Some(Duration::from_secs(1))).ok()?;
        Some(stream)
    }

    /// Reads for a moment and answers; false if the connection is over.
    fn talk(&self, stream: &mut TcpStream) -> bool {
        let mut space = [0_u8; 4_096];
        match stream.read(&mut space) {
            Ok(0) => false,
            Ok(count) => {
                let heard = {
                    let mut inner = self.shared.inner();
                    inner.machine.hear(space.get(..count).unwrap_or_default())
                };
                stream.write_all(&heard.answer).is_ok() && !heard.hangs_up
            }
            Err(error) => {
                matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted)
            }
        }
    }

    fn print(&mut self, label: Vec<u8>) {
        if let Some(Err(error)) = self.paper.as_mut().map(|paper| paper.print(&label)) {
            tracing::warn!(%error, "a label came out and is not in the folder");
        }
        self.shared.inner().labels.push(label);
        self.shared.changed.notify_all();
    }

    fn wait(&self) {
        let inner = self.shared.inner();
        drop(self.shared.changed.wait_timeout(inner, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner));
    }
}

/// The folder of printed labels that belongs to an output folder and a number.
fn label_file(folder: &Path, number: usize, extension: &str) -> PathBuf {
    folder.join(format!("label-{number:03}.{extension}"))
}
