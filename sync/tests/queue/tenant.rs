//! The tenant that certifies and answers a station, its clock, and what the station scans.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of the rig")]

use lotgate_domain::certificate::{Certificate, KeyUse, Subject, SubjectType};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{
    BootId, CertificateSerial, Hash, OperationId, PublicKey, SiteId, StationId, TenantId,
};
use lotgate_domain::operation::Program;
use lotgate_domain::operation::body::{Body, Device, ScanRefused};
use lotgate_domain::protocol::Site;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, FeedPoint, Receipt, Signed, Statement, Through};
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::{Clock, ClockReading};
use lotgate_sync::queue::{Draft, Identity};
use lotgate_sync::secure::Secure;
use std::sync::{Arc, Mutex};

#[path = "log.rs"]
mod log;
pub use log::*;

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
    pub log_book: Mutex<TestLog>,
    /// X25519 keys of the two who can open a lost queue.
    pub holders: Option<[PublicKey; 2]>,
}

impl Tenant {
    pub fn new(seed: u8) -> Self {
        let pair = |n: u8| KeyPair::from_seed(&[seed.wrapping_add(n); 32]);
        let id = TenantId::from_parts(1, &[seed; 10]);
        let site_id = SiteId::from_parts(2, &[seed; 10]);
        let site = Site { id: site_id, name: "Plant 1".to_owned(), zone: "Europe/Berlin".to_owned() };
        let log_book = Mutex::new(TestLog::new());
        Self {
            id,
            site,
            root: pair(1),
            issuer: pair(2),
            log: pair(3),
            statement: pair(4),
            log_book,
            holders: None,
        }
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
        let holder = |(n, key): (u64, &PublicKey)| {
            let id = key.key_id().to_string();
            let subject = Subject { kind: SubjectType::TenantKey, id, key_use: KeyUse::Recovery, site: None };
            let serial = CertificateSerial::from_parts(3 + n, &[7; 10]);
            self.certify_as(serial, &self.root, subject, *key, Some(*key))
        };
        let mut certificates = vec![
            own(&self.root, KeyUse::Root),
            own(&self.issuer, KeyUse::Issuer),
            own(&self.log, KeyUse::Log),
            own(&self.statement, KeyUse::Statement),
        ];
        certificates.extend((0..).zip(self.holders.iter().flatten()).map(holder));
        certificates.push(self.certify(&self.issuer, subject, key, Some(hpke)));
        certificates
    }

    /// A certificate for a later key of the station, the `n`th.
    pub fn rotated(&self, station: StationId, n: u64, key: PublicKey, hpke: PublicKey) -> Vec<u8> {
        let subject = Subject {
            kind: SubjectType::Station,
            id: station.to_string(),
            key_use: KeyUse::Operation,
            site: Some(self.site.id),
        };
        let serial = CertificateSerial::from_parts(3 + n, &[7; 10]);
        self.certify_as(serial, &self.issuer, subject, key, Some(hpke))
    }

    fn certify(
        &self,
        signer: &KeyPair,
        subject: Subject,
        public_key: PublicKey,
        hpke_key: Option<PublicKey>,
    ) -> Vec<u8> {
        let serial = CertificateSerial::from_parts(3, &[7; 10]);
        self.certify_as(serial, signer, subject, public_key, hpke_key)
    }

    fn certify_as(
        &self,
        serial: CertificateSerial,
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
            serial,
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

    /// The station as the cloud enrolled it.
    pub fn identity(&self, station: StationId, secure: &Secure) -> Identity {
        let keys = secure.station_keys();
        let certificates = self.certificates(station, keys.public(), keys.hpke_public());
        Identity::verify(
            self.id,
            self.root.public().fingerprint(),
            self.site.clone(),
            "Dispensary 1".to_owned(),
            certificates,
            (&keys.public(), &keys.hpke_public()),
            secure.protection(),
        )
        .unwrap()
    }

    pub fn receipt(
        &self,
        station: StationId,
        through: Head,
        previous: Hash,
        verdicts: Vec<Hash>,
        time: Timestamp,
    ) -> Signed<Receipt> {
        self.signed(&Receipt {
            v: 1,
            kind: Receipt::KIND.to_owned(),
            tenant: self.id,
            key: self.statement.public().key_id(),
            station,
            epoch: through.epoch.unwrap(),
            through: Through { seq: through.seq, hash: through.hash },
            verdicts,
            previous,
            time,
        })
    }

    pub fn feed_point(&self, cursor: u64, hash: Hash, time_ms: i64) -> Signed<FeedPoint> {
        self.signed(&FeedPoint {
            v: 1,
            kind: FeedPoint::KIND.to_owned(),
            tenant: self.id,
            key: self.statement.public().key_id(),
            site: self.site.id,
            cursor,
            hash,
            time: Timestamp::from_unix_ms(time_ms),
        })
    }

    pub fn signed<T: Statement>(&self, value: &T) -> Signed<T> {
        let bytes = statement::sign(value, &self.statement).unwrap();
        statement::read(&bytes, self.id, &self.statement.public()).unwrap()
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

pub fn program() -> Program {
    Program {
        version: "0.1.0".to_owned(),
        build: "test".to_owned(),
        config_sha256: Hash::of(b"configuration"),
    }
}
