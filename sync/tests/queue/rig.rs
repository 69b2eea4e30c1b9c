//! A station with real files in a directory of its own, and the tenant that certifies and answers it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of the rig")]

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Hash, StationId};
use lotgate_domain::statement::{FeedPoint, Receipt, Signed, Statement as _, VerdictBatch, VerdictException};
use lotgate_sync::clock::Clock;
use lotgate_sync::queue::{CapacityLimits, Identity, OpenError, Queue, QueueOptions, QueueView, Settlement};
use lotgate_sync::secure::{Places, Secure, SecureError, SystemRandom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[path = "tenant.rs"]
mod tenant;
pub use tenant::*;

/// A station and its directories.
pub struct Rig {
    _temporary: Option<tempfile::TempDir>,
    directory: PathBuf,
    pub tenant: Tenant,
    pub station: StationId,
    pub clock: Arc<TestClock>,
    pub limits: CapacityLimits,
}

impl Rig {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().to_owned();
        Self { _temporary: Some(temporary), ..Self::at(directory) }
    }

    /// The same station in a directory that somebody else keeps.
    pub fn at(directory: PathBuf) -> Self {
        Self {
            _temporary: None,
            directory,
            tenant: Tenant::new(10),
            station: StationId::from_parts(4, &[5; 10]),
            clock: TestClock::at(NOON),
            // The disk of the tests is whatever it is.
            limits: CapacityLimits { disk_low: 0, disk_very_low: 0, ..CapacityLimits::default() },
        }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The same station as a sudden end of this moment leaves it.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        *copy.tenant.log_book.lock().unwrap() = self.tenant.log_book.lock().unwrap().clone();
        copy_dir(&self.data(), &copy.data());
        copy_dir(&self.secure_dir(), &copy.secure_dir());
        restrict(&copy.secure_dir());
        copy
    }

    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub fn secure_dir(&self) -> PathBuf {
        self.directory.join("data.secure")
    }

    pub fn queue_file(&self) -> PathBuf {
        self.data().join("queue.db")
    }

    pub fn places(&self) -> Places {
        Places::new(self.data(), None, None)
    }

    pub fn options(&self, secure: Secure) -> QueueOptions {
        self.options_with(secure, Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    pub fn options_with(&self, secure: Secure, clock: Arc<dyn Clock>) -> QueueOptions {
        let program = program();
        QueueOptions { secure, clock, random: Arc::new(SystemRandom), program, limits: self.limits }
    }

    pub fn identity(&self, secure: &Secure) -> Identity {
        self.tenant.identity(self.station, secure)
    }

    pub fn try_create(&self) -> Result<Queue, OpenError> {
        let secure = Secure::prepare(self.places(), &SystemRandom).unwrap();
        let identity = self.identity(&secure);
        Queue::create(self.options(secure), &identity)
    }

    pub fn create(&self) -> Queue {
        self.try_create().unwrap()
    }

    pub fn secure(&self) -> Result<Secure, SecureError> {
        Secure::open(self.places())
    }

    pub fn try_open(&self) -> Result<Queue, OpenError> {
        Queue::open(self.options(self.secure().unwrap()))
    }

    pub fn open(&self) -> Queue {
        self.try_open().unwrap()
    }

    pub fn view(&self) -> QueueView {
        QueueView::open(&Secure::view(self.places()).unwrap()).unwrap()
    }

    /// The file as somebody opens it who has the key: the wrapped form is read here independently.
    pub fn connection(&self) -> rusqlite::Connection {
        let secret = std::fs::read(self.secure_dir().join("device.key")).unwrap();
        let wrapped = std::fs::read(self.secure_dir().join("queue.key")).unwrap();
        assert_eq!((secret.len(), wrapped.len(), wrapped[0]), (32, 73, 1), "form of the key files");
        let secret: [u8; 32] = secret.try_into().unwrap();
        let nonce: [u8; 24] = wrapped[1..25].try_into().unwrap();
        let payload = Payload { msg: &wrapped[25..], aad: b"lotgate/wrap/v1\0queue.key" };
        let cipher = XChaCha20Poly1305::new((&secret).into());
        let key = cipher.decrypt(&XNonce::from(nonce), payload).unwrap();
        let connection = rusqlite::Connection::open(self.queue_file()).unwrap();
        connection.execute_batch(&format!("PRAGMA key = \"x'{}'\"", hex::encode(key))).unwrap();
        connection
    }

    pub fn receipt(&self, through: Head, previous: Hash, verdicts: Vec<Hash>) -> Signed<Receipt> {
        self.tenant.receipt(self.station, through, previous, verdicts, self.clock.read().wall)
    }

    pub fn verdicts(
        &self,
        first: u64,
        count: u64,
        exceptions: Vec<VerdictException>,
    ) -> Signed<VerdictBatch> {
        self.tenant.signed(&VerdictBatch {
            v: 1,
            kind: VerdictBatch::KIND.to_owned(),
            tenant: self.tenant.id,
            key: self.tenant.statement.public().key_id(),
            first,
            count,
            exceptions,
            supersedes: Vec::new(),
        })
    }

    pub fn clock_now(&self) -> lotgate_domain::time::Timestamp {
        self.clock.read().wall
    }

    pub async fn settlement(&self, queue: &Queue, through: Head) -> Settlement {
        self.tenant.settlement(queue, through, Vec::new(), self.clock.read().wall).await
    }

    pub fn feed_point(&self, cursor: u64, hash: Hash, time_ms: i64) -> Signed<FeedPoint> {
        self.tenant.feed_point(cursor, hash, time_ms)
    }
}

/// Makes a directory private, as the key store demands.
pub fn restrict(directory: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
