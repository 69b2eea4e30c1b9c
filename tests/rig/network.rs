//! The network between a station and the cloud: a TCP relay that can be cut, and that can cut what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What happens to the bytes of a direction.
#[derive(Debug, Default)]
struct Faults {
    /// Requests whose reply is thrown away after the cloud sent it.
    lost_replies: AtomicU64,
    /// Pushes that are cut after `cut_after` bytes.
    cut_requests: AtomicU64,
    cut_after: AtomicU64,
    /// Counts what was done, so that a test can show that the fault took place.
    done: AtomicU64,
}

/// A relay on a loopback port of its own, which stays the same when the cable goes out and in again.
#[derive(Debug)]
pub struct Network {
    address: SocketAddr,
    upstream: Arc<Mutex<SocketAddr>>,
    faults: Arc<Faults>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Network {
    /// A relay to `upstream`, with the cable in.
    pub fn to(upstream: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut network = Self {
            address: listener.local_addr()?,
            upstream: Arc::new(Mutex::new(upstream)),
            faults: Arc::default(),
            open: Arc::default(),
            acceptor: None,
        };
        network.accept(listener)?;
        Ok(network)
    }

    /// Where stations connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Pulls the cable: connections end, new ones are refused.
    pub fn cut(&mut self) {
        if let Some((stop, thread)) = self.acceptor.take() {
            stop.store(true, Ordering::SeqCst);
            let _ = thread.join();
        }
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Puts the cable in again, on the same port.
    pub fn restore(&mut self) -> std::io::Result<()> {
        if self.acceptor.is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(self.address)?;
        self.accept(listener)
    }

    /// Throws the next `count` replies to pushes away; the connection ends instead.
    pub fn lose_replies(&self, count: u64) {
        self.faults.lost_replies.store(count, Ordering::SeqCst);
    }

    /// Cuts the next `count` pushes after `bytes` bytes, and their connections with them.
    pub fn cut_requests(&self, count: u64, bytes: u64) {
        self.faults.cut_after.store(bytes, Ordering::SeqCst);
        self.faults.cut_requests.store(count, Ordering::SeqCst);
    }

    /// How many replies were lost and requests cut until now.
    pub fn faults_done(&self) -> u64 {
        self.faults.done.load(Ordering::SeqCst)
    }

    fn accept(&mut self, listener: TcpListener) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, upstream, faults, open) =
            (stop.clone(), self.upstream.clone(), self.faults.clone(), self.open.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((station, _)) => relay(station, *upstream.lock().unwrap(), &faults, &open),
                    Err(_) => std::thread::park_timeout(Duration::from_millis(2)),
                }
            }
        });
        self.acceptor = Some((stop, thread));
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.cut();
    }
}

fn relay(station: TcpStream, upstream: SocketAddr, faults: &Arc<Faults>, open: &Mutex<Vec<TcpStream>>) {
    let Ok(cloud) = TcpStream::connect(upstream) else {
        let _ = station.shutdown(Shutdown::Both);
        return;
    };
    let _ = (station.set_nonblocking(false), station.set_nodelay(true), cloud.set_nodelay(true));
    let (Ok(station2), Ok(cloud2), Ok(station3), Ok(cloud3)) =
        (station.try_clone(), cloud.try_clone(), station.try_clone(), cloud.try_clone())
    else {
        return;
    };
    open.lock().unwrap().extend([station3, cloud3]);
    let pushing = Arc::new(AtomicBool::new(false));
    let (up, down) = (faults.clone(), faults.clone());
    let seen = pushing.clone();
    std::thread::spawn(move || carry_requests(station, cloud, &up, &seen));
    std::thread::spawn(move || carry_replies(cloud2, station2, &down, &pushing));
}

fn carry_requests(mut station: TcpStream, mut cloud: TcpStream, faults: &Faults, pushing: &AtomicBool) {
    let mut buffer = [0u8; 16 * 1024];
    while let Ok(n @ 1..) = station.read(&mut buffer) {
        let mut room = n;
        if find(&buffer[..n], b"POST /v1/operations") {
            pushing.store(true, Ordering::SeqCst);
            if take_one(&faults.cut_requests) {
                room =
                    usize::try_from(faults.cut_after.load(Ordering::SeqCst)).map_or(n, |cut| cut.min(n - 1));
            }
        }
        if cloud.write_all(&buffer[..room]).is_err() {
            break;
        }
        if room < n {
            faults.done.fetch_add(1, Ordering::SeqCst);
            break;
        }
    }
    let _ = (station.shutdown(Shutdown::Both), cloud.shutdown(Shutdown::Both));
}

fn carry_replies(mut cloud: TcpStream, mut station: TcpStream, faults: &Faults, pushing: &AtomicBool) {
    let mut buffer = [0u8; 16 * 1024];
    while let Ok(n @ 1..) = cloud.read(&mut buffer) {
        let to_a_push = pushing.load(Ordering::SeqCst) && find(&buffer[..n], b"HTTP/1.1 200");
        if to_a_push && take_one(&faults.lost_replies) {
            faults.done.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if station.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = (station.shutdown(Shutdown::Both), cloud.shutdown(Shutdown::Both));
}

fn take_one(counter: &AtomicU64) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
