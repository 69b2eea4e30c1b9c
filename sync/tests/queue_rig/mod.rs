//! A station with real files in a directory of its own, and the tenant that certifies and answers it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of the rig")]

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use lotgate_domain::certificate::{Certificate, KeyUse, Subject, SubjectType};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{
    BootId, CertificateSerial, Hash, OperationId, PublicKey, SiteId, StationId, TenantId,
};
use lotgate_domain::operation::Program;
use lotgate_domain::operation::body::{Body, Device, ScanRefused};
use lotgate_domain::protocol::Site;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{
    self, FeedPoint, Receipt, Signed, Statement, Through, VerdictBatch, VerdictException,
};
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::{Clock, ClockReading};
use lotgate_sync::queue::{Draft, Identity, OpenError, Queue, QueueOptions, QueueView, Settlement};
use lotgate_sync::secure::{Places, Secure, SecureError, SystemRandom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub const NOON: i64 = 1_800_000_000_000;

/// Clocks that a test sets.
pub struct TestClock(Mutex<ClockReading>);

impl TestClock {
    pub fn at(wall_ms: i64) -> Arc<Self> {
        let boot = BootId::from_parts(1, &[9; 10]);
        let wall = Timestamp::from_unix_ms(wall_ms);
        Arc::new(Self(Mutex::new(ClockReading { wall, offset_minutes: 60, mono_ms: 1_000, boot })))
    }

    pub fn advance(&self, ms: i64) {
        let mut reading = self.0.lock().unwrap();
        reading.wall = reading.wall.plus_ms(ms);
        reading.mono_ms += u64::try_from(ms).unwrap();
    }

    pub fn set_wall(&self, wall_ms: i64) {
        self.0.lock().unwrap().wall = Timestamp::from_unix_ms(wall_ms);
    }
}

impl Clock for TestClock {
    fn read(&self) -> ClockReading {
        *self.0.lock().unwrap()
    }
}

/// The keys of a tenant.
pub struct Tenant {
    pub id: TenantId,
    pub site: Site,
    pub root: KeyPair,
    pub issuer: KeyPair,
    pub log: KeyPair,
    pub statement: KeyPair,
}

impl Tenant {
    pub fn new(seed: u8) -> Self {
        let pair = |n: u8| KeyPair::from_seed(&[seed.wrapping_add(n); 32]);
        let id = TenantId::from_parts(1, &[seed; 10]);
        let site_id = SiteId::from_parts(2, &[seed; 10]);
        let site = Site { id: site_id, name: "Plant 1".to_owned(), zone: "Europe/Berlin".to_owned() };
        Self { id, site, root: pair(1), issuer: pair(2), log: pair(3), statement: pair(4) }
    }

    pub fn certificates(&self, station: StationId, key: PublicKey, hpke: PublicKey) -> Vec<Vec<u8>> {
        let own = |pair: &KeyPair, key_use| {
            let subject = Subject {
                kind: SubjectType::TenantKey,
                id: pair.public().key_id().to_string(),
                key_use,
                site: None,
            };
            self.certify(&self.root, subject, pair.public(), None)
        };
        let subject = Subject {
            kind: SubjectType::Station,
            id: station.to_string(),
            key_use: KeyUse::Operation,
            site: Some(self.site.id),
        };
        vec![
            own(&self.root, KeyUse::Root),
            own(&self.issuer, KeyUse::Issuer),
            own(&self.log, KeyUse::Log),
            own(&self.statement, KeyUse::Statement),
            self.certify(&self.issuer, subject, key, Some(hpke)),
        ]
    }

    fn certify(
        &self,
        signer: &KeyPair,
        subject: Subject,
        public_key: PublicKey,
        hpke_key: Option<PublicKey>,
    ) -> Vec<u8> {
        let certificate = Certificate {
            v: 1,
            kind: Certificate::KIND.to_owned(),
            tenant: self.id,
            key: signer.public().key_id(),
            serial: CertificateSerial::from_parts(3, &[7; 10]),
            subject,
            public_key,
            hpke_key,
            training: true,
            roles: Vec::new(),
            not_before: Timestamp::from_unix_ms(NOON),
            not_after: None,
            previous: None,
            issued_at: Timestamp::from_unix_ms(NOON),
        };
        statement::sign(&certificate, signer).unwrap()
    }

    pub fn signed<T: Statement>(&self, value: &T) -> Signed<T> {
        let bytes = statement::sign(value, &self.statement).unwrap();
        statement::read(&bytes, self.id, &self.statement.public()).unwrap()
    }
}

/// A station and its directories.
pub struct Rig {
    _temporary: Option<tempfile::TempDir>,
    directory: PathBuf,
    pub tenant: Tenant,
    pub station: StationId,
    pub clock: Arc<TestClock>,
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
        }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The same station as a sudden end of this moment leaves it.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
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
        let program = Program {
            version: "0.1.0".to_owned(),
            build: "test".to_owned(),
            config_sha256: Hash::of(b"configuration"),
        };
        QueueOptions { secure, clock, random: Arc::new(SystemRandom), program }
    }

    pub fn identity(&self, secure: &Secure) -> Identity {
        let keys = secure.station_keys();
        let certificates = self.tenant.certificates(self.station, keys.public(), keys.hpke_public());
        Identity::verify(
            self.tenant.id,
            self.tenant.root.public().fingerprint(),
            self.tenant.site.clone(),
            "Dispensary 1".to_owned(),
            certificates,
            (&keys.public(), &keys.hpke_public()),
            secure.protection(),
        )
        .unwrap()
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
        self.tenant.signed(&Receipt {
            v: 1,
            kind: Receipt::KIND.to_owned(),
            tenant: self.tenant.id,
            key: self.tenant.statement.public().key_id(),
            station: self.station,
            epoch: through.epoch.unwrap(),
            through: Through { seq: through.seq, hash: through.hash },
            verdicts,
            previous,
            time: self.clock.read().wall,
        })
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

    pub fn settlement(&self, through: Head) -> Settlement {
        Settlement { receipt: self.receipt(through, Hash::ZERO, Vec::new()), verdicts: Vec::new() }
    }

    pub fn feed_point(&self, cursor: u64, hash: Hash, time_ms: i64) -> Signed<FeedPoint> {
        self.tenant.signed(&FeedPoint {
            v: 1,
            kind: FeedPoint::KIND.to_owned(),
            tenant: self.tenant.id,
            key: self.tenant.statement.public().key_id(),
            site: self.tenant.site.id,
            cursor,
            hash,
            time: Timestamp::from_unix_ms(time_ms),
        })
    }
}

/// A refused scan whose raw bytes hold `n`.
pub fn scan(n: u64) -> Draft {
    scan_of(hex::encode(format!("]C1scan-{n}")))
}

pub fn scan_of(raw: String) -> Draft {
    let device = Device {
        role: "scanner".to_owned(),
        transport: "serial".to_owned(),
        id: "/dev/pts/1".to_owned(),
        simulated: true,
    };
    let body = Body::ScanRefused(ScanRefused {
        device,
        raw,
        aim: Some("]C1".to_owned()),
        symbology: "code_128".to_owned(),
        kind: "gs1".to_owned(),
        elements: Vec::new(),
        item: None,
        lot: None,
        snapshot_lot: None,
        code: "unknown_lot".to_owned(),
    });
    Draft::by_station(body, None)
}

pub fn with_id(mut draft: Draft, n: u8) -> Draft {
    draft.id = Some(OperationId::from_parts(5, &[n; 10]));
    draft
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
