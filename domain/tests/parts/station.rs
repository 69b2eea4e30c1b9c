//! A station that writes entries with real keys.

use lotgate_domain::entry;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{BootId, Epoch, EpochId, Hash, OperationId, SiteId, StationId, TenantId};
use lotgate_domain::ledger::Station;
use lotgate_domain::operation::body::{Body, Device, ScanAccepted, SnapshotLot};
use lotgate_domain::operation::{ALG, Actor, At, Clock, Knew, Operation, Program, State};
use lotgate_domain::reference::LotStatus;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::time::Timestamp;

/// Keys, certificate and the place where the chain stands.
pub struct Writer {
    pub keys: KeyPair,
    pub station: Station,
    pub epoch: Epoch,
    pub seq: u64,
    pub prev: Hash,
    written: u64,
}

impl Writer {
    /// A station certified for training, in epoch 1, before its first entry.
    pub fn new(number: u8) -> Self {
        let keys = KeyPair::from_seed(&[number; 32]);
        let station = Station {
            tenant: TenantId::from_parts(1, &[1; 10]),
            site: SiteId::from_parts(2, &[2; 10]),
            id: StationId::from_parts(3, &[number; 10]),
            key: keys.public(),
            certificate: Hash::of(&[number]),
            former: Vec::new(),
            training: true,
            closed: None,
        };
        let prev = station.certificate;
        Self { keys, station, epoch: Epoch { n: 1, id: EpochId([number; 16]) }, seq: 0, prev, written: 0 }
    }

    /// The next operation, not written yet.
    pub fn next(&mut self, body: Body) -> Operation {
        self.written += 1;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.written.to_be_bytes());
        random[8] = self.keys.public().0[0];
        Operation {
            v: 1,
            alg: ALG.to_owned(),
            key: self.keys.public().key_id(),
            id: OperationId::from_parts(1_700_000_000_000, &random),
            tenant: self.station.tenant,
            site: self.station.site,
            station: self.station.id,
            epoch: self.epoch,
            seq: self.seq + 1,
            prev: self.prev,
            at: At {
                wall: Timestamp::from_unix_ms(1_700_000_000_000),
                offset_minutes: 60,
                mono_ms: self.written,
                boot: BootId::from_parts(4, &[4; 10]),
                server: None,
                clock: Clock::Unsynced,
            },
            actor: Actor::Station,
            role: None,
            reason: None,
            knew: Some(Knew { snapshot: 5, hash: Hash::of(b"page"), age_ms: 0, log: None }),
            state: State::default(),
            program: Program {
                version: "0.1.0".to_owned(),
                build: "test".to_owned(),
                config_sha256: Hash::ZERO,
            },
            body,
        }
    }

    /// Writes the next entry of the chain.
    pub fn write(&mut self, body: Body) -> Vec<u8> {
        let operation = self.next(body);
        let bytes = operation.write(&self.keys).unwrap();
        self.advance(&bytes);
        bytes
    }

    /// A copy of the machine as it is now: same keys, its own ids from here on by `number`.
    #[allow(dead_code, reason = "not every test that shares this file clones")]
    pub fn clone_machine(&self, number: u64) -> Self {
        let keys = KeyPair::from_seed(&self.keys.seed());
        let (station, epoch) = (self.station.clone(), self.epoch);
        Self {
            keys,
            station,
            epoch,
            seq: self.seq,
            prev: self.prev,
            written: self.written + number * 1_000_000,
        }
    }

    /// Takes `bytes` as the entry that was written last.
    pub fn advance(&mut self, bytes: &[u8]) {
        self.seq += 1;
        self.prev = entry::hash(bytes);
    }

    /// The first entry of epoch 1, then `scans` scans.
    pub fn enrolled_with_scans(&mut self, scans: usize) -> Vec<Vec<u8>> {
        let certificate = self.station.certificate;
        let enrolled = Body::StationEnrolled { certificate, key_protection: "file".to_owned() };
        let mut entries = vec![self.write(enrolled)];
        entries.extend((0..scans).map(|_| self.write(scan("L1"))));
        entries
    }

    /// Goes on in another epoch, in doubt; returns its first entry.
    pub fn open_epoch(&mut self, n: u64, id: u8) -> Vec<u8> {
        self.open_epoch_because(n, id, EpochReason::RolledBack)
    }

    /// Goes on in another epoch; returns its first entry.
    pub fn open_epoch_because(&mut self, n: u64, id: u8, reason: EpochReason) -> Vec<u8> {
        self.epoch = Epoch { n, id: EpochId([id; 16]) };
        self.seq = 0;
        self.prev = self.station.certificate;
        self.write(Body::EpochOpened { reason: reason.as_str().to_owned(), last: None, anchor: None })
    }
}

/// An accepted scan of a lot on a real scanner.
pub fn scan(lot: &str) -> Body {
    Body::ScanAccepted(ScanAccepted {
        device: Device {
            role: "scanner".to_owned(),
            transport: "serial".to_owned(),
            id: "usb:0c2e:0aaf".to_owned(),
            simulated: false,
        },
        raw: hex::encode(lot),
        aim: None,
        symbology: "unknown".to_owned(),
        kind: "plain".to_owned(),
        elements: Vec::new(),
        item: "API-1".to_owned(),
        lot: lot.to_owned(),
        snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: None },
    })
}
