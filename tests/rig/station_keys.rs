//! A station without its program: keys, and operations that are signed and chained as a station does it.

use lotgate_domain::canonical;
use lotgate_domain::entry;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{
    BootId, Epoch, EpochId, Hash, OperationId, PublicKey, SiteId, StationId, TenantId,
};
use lotgate_domain::operation::body::{Body, Device, ScanAccepted, ScanRefused, SnapshotLot};
use lotgate_domain::operation::{ALG, Actor, At, Clock, Knew, Operation, Program, State};
use lotgate_domain::protocol::push::{PushClock, PushHeader, PushRequest};
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{After, CloudApi, EnrolReply, EnrolRequest};
use lotgate_domain::reference::LotStatus;
use lotgate_domain::signature::{Context, KeyPair};
use lotgate_domain::time::Timestamp;
use serde_json::Value;

/// The station's wall clock: it stands still, which the cloud must not mind.
pub const WALL: &str = "2026-11-22T12:00:00.000Z";

/// A station's identity and the chain that it writes.
pub struct StationKeys {
    /// Its key.
    pub keys: KeyPair,
    /// Its X25519 key; never used to open anything here.
    pub hpke_key: PublicKey,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it stands.
    pub site: SiteId,
    /// Which it is.
    pub id: StationId,
    /// Hash of its certificate.
    pub certificate: Hash,
    /// The epoch that it writes.
    pub epoch: Epoch,
    /// What its operations say it knew of the reference data.
    pub knew: Option<Knew>,
    /// Every entry of the epoch.
    pub entries: Vec<Vec<u8>>,
    next_id: u64,
}

/// The request that enrols a station whose key is made from `seed`.
#[must_use]
pub fn enrol_request(token: &EnrolToken, seed: u8) -> EnrolRequest {
    let (keys, line) = (KeyPair::from_seed(&[seed; 32]), token.line());
    let (public_key, hpke_key) = (keys.public(), PublicKey([seed ^ 0x55; 32]));
    let message = EnrolRequest::proof_message(&line, &public_key, &hpke_key);
    EnrolRequest {
        proof: keys.sign(Context::Enrol, &message),
        token: line,
        station_name: format!("Station {seed}"),
        public_key,
        hpke_key,
        program: "0.1.0".to_owned(),
        key_protection: "file".to_owned(),
    }
}

/// Enrols a station whose key is made from `seed`.
///
/// # Errors
/// The cloud's.
pub async fn enrol<C: CloudApi>(cloud: &C, token: &EnrolToken, seed: u8) -> Result<StationKeys, C::Error> {
    let reply = cloud.enrol(enrol_request(token, seed)).await?;
    Ok(StationKeys::new(token.tenant, &reply, seed))
}

impl StationKeys {
    /// The station of an enrolment that was made with the key of `seed`.
    ///
    /// # Panics
    /// If the reply holds no station certificate.
    #[must_use]
    pub fn new(tenant: TenantId, reply: &EnrolReply, seed: u8) -> Self {
        let bytes = &reply.certificates.last().expect("a station certificate").0;
        let frame = entry::Frame::read(bytes).expect("a frame");
        let certificate: Value = serde_json::from_slice(frame.json()).expect("JSON");
        let id = certificate["subject"]["id"].as_str().expect("an id").parse().expect("a station id");
        Self {
            keys: KeyPair::from_seed(&[seed; 32]),
            hpke_key: PublicKey([seed ^ 0x55; 32]),
            tenant,
            site: reply.site.id,
            id,
            certificate: frame.hash(),
            epoch: Epoch { n: 1, id: EpochId([seed; 16]) },
            knew: None,
            entries: Vec::new(),
            next_id: u64::from(seed) << 32,
        }
    }

    /// Position and hash of the last entry.
    #[must_use]
    pub fn head(&self) -> After {
        self.after(self.entries.len())
    }

    /// What the entry after the first `count` comes after.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn after(&self, count: usize) -> After {
        match count.checked_sub(1).map(|last| &self.entries[last]) {
            None => After { seq: 0, hash: self.certificate },
            Some(bytes) => After { seq: count as u64, hash: entry::hash(bytes) },
        }
    }

    /// Leaves the epoch for the next, in doubt.
    pub fn open_epoch(&mut self, id: u8) {
        self.open_epoch_because(id, EpochReason::RolledBack);
    }

    /// Leaves the epoch for the next, whose first entry says why.
    pub fn open_epoch_because(&mut self, id: u8, reason: EpochReason) {
        let last = self.head();
        let last = (last.seq > 0).then_some(lotgate_domain::operation::body::ChainPoint {
            epoch: self.epoch,
            seq: last.seq,
            hash: last.hash,
        });
        self.epoch = Epoch { n: self.epoch.n + 1, id: EpochId([id; 16]) };
        self.entries.clear();
        self.append(Body::EpochOpened { reason: reason.as_str().to_owned(), last, anchor: None });
    }

    /// Goes back to the first `count` entries of the epoch and writes on: what a restored machine does. The chain as
    /// it was is given back.
    pub fn go_back(&mut self, count: usize) -> Vec<Vec<u8>> {
        let before = self.entries.clone();
        self.entries.truncate(count);
        before
    }

    /// Appends the first operation of a station.
    pub fn append_enrolled(&mut self) {
        let certificate = self.certificate;
        self.append(Body::StationEnrolled { certificate, key_protection: "file".to_owned() });
    }

    /// Appends an accepted scan of a lot.
    pub fn append_scan(&mut self, item: &str, lot: &str) {
        self.append(scan_accepted(item, lot, true));
    }

    /// Appends an operation.
    pub fn append(&mut self, body: Body) {
        let operation = self.operation(body);
        self.append_bytes(operation.write(&self.keys).expect("an operation that can be written"));
    }

    /// Appends bytes as they are.
    pub fn append_bytes(&mut self, entry: Vec<u8>) {
        self.entries.push(entry);
    }

    /// The next operation, not yet appended; every one has an id of its own.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn operation(&mut self, body: Body) -> Operation {
        let head = self.head();
        self.next_id += 1;
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.next_id.to_be_bytes());
        Operation {
            v: 1,
            alg: ALG.to_owned(),
            key: self.keys.public().key_id(),
            id: OperationId::from_parts(1_700_000_000_000, &random),
            tenant: self.tenant,
            site: self.site,
            station: self.id,
            epoch: self.epoch,
            seq: head.seq + 1,
            prev: head.hash,
            at: At {
                wall: WALL.parse().expect("a time"),
                offset_minutes: 60,
                mono_ms: head.seq * 1000,
                boot: BootId::from_parts(0, &[1; 10]),
                server: None,
                clock: Clock::Unsynced,
            },
            actor: Actor::Station,
            role: None,
            reason: None,
            knew: self.knew.clone(),
            state: State::default(),
            program: Program {
                version: "0.1.0".to_owned(),
                build: "rig".to_owned(),
                config_sha256: Hash::ZERO,
            },
            body,
        }
    }

    /// The next operation with its JSON changed before it is signed: poison.
    ///
    /// # Panics
    /// If the changed JSON has no canonical form.
    pub fn append_changed(&mut self, body: Body, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::to_value(self.operation(body)).expect("JSON");
        change(&mut value);
        let json = canonical::write(&value).expect("canonical");
        self.append_bytes(entry::sign(&json, Context::Operation, &self.keys).expect("a frame"));
    }

    /// The push of the entries after the first `from` up to `to`.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn push(&self, from: usize, to: usize) -> PushRequest {
        push_of(self.epoch, self.after(from), &self.entries[from..to])
    }

    /// The push of every entry of the epoch.
    #[must_use]
    pub fn push_all(&self) -> PushRequest {
        self.push(0, self.entries.len())
    }
}

/// A push of `entries` after a point.
///
/// # Panics
/// Never.
#[must_use]
pub fn push_of(epoch: Epoch, after: After, entries: &[Vec<u8>]) -> PushRequest {
    let clock =
        PushClock { wall: WALL.parse().expect("a time"), mono_ms: 0, boot: BootId::from_parts(0, &[1; 10]) };
    let header = PushHeader { v: 1, epoch, after, count: entries.len() as u64, clock, log: None };
    PushRequest { header, entries: entries.concat() }
}

/// What a station knew at a cursor.
#[must_use]
pub fn knew(snapshot: u64) -> Option<Knew> {
    Some(Knew { snapshot, hash: Hash::ZERO, age_ms: 0, log: None })
}

/// The body of an accepted scan.
#[must_use]
pub fn scan_accepted(item: &str, lot: &str, simulated: bool) -> Body {
    Body::ScanAccepted(ScanAccepted {
        device: device(simulated),
        raw: hex::encode(format!("]C0{lot}")),
        aim: Some("]C0".to_owned()),
        symbology: "code128".to_owned(),
        kind: "plain".to_owned(),
        elements: Vec::new(),
        item: item.to_owned(),
        lot: lot.to_owned(),
        snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: None },
    })
}

/// The body of a refused scan.
#[must_use]
pub fn scan_refused(code: &str) -> Body {
    Body::ScanRefused(ScanRefused {
        device: device(true),
        raw: hex::encode("]C0unknown"),
        aim: Some("]C0".to_owned()),
        symbology: "code128".to_owned(),
        kind: "plain".to_owned(),
        elements: Vec::new(),
        item: None,
        lot: None,
        snapshot_lot: None,
        code: code.to_owned(),
    })
}

fn device(simulated: bool) -> Device {
    Device { role: "scanner".to_owned(), transport: "serial".to_owned(), id: "rig".to_owned(), simulated }
}

/// A time, `ms` after the rig's wall clock.
///
/// # Panics
/// Never.
#[must_use]
pub fn at(ms: i64) -> Timestamp {
    WALL.parse::<Timestamp>().expect("a time").plus_ms(ms)
}
