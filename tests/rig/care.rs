//! What a station says to be looked after: heartbeats, evidence, a new key, its end.

use crate::station_keys::{StationKeys, WALL};
use lotgate_domain::ids::PublicKey;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::protocol::HexBytes;
use lotgate_domain::protocol::care::{
    DeviceReport, EvidenceRequest, Heartbeat, RetireRequest, RotateReply, RotateRequest,
};
use lotgate_domain::signature::{Context, KeyPair};

/// The end of the chain that a station writes.
#[must_use]
pub fn head_of(station: &StationKeys) -> Option<ChainPoint> {
    point_of(station, station.entries.len())
}

/// The chain after the first `count` entries of the epoch.
#[must_use]
pub fn point_of(station: &StationKeys, count: usize) -> Option<ChainPoint> {
    let after = station.after(count);
    (after.seq > 0).then_some(ChainPoint { epoch: station.epoch, seq: after.seq, hash: after.hash })
}

/// A heartbeat of a station that waits with all of its epoch.
///
/// # Panics
/// Never.
#[must_use]
pub fn heartbeat_of(station: &StationKeys) -> Heartbeat {
    let wall = WALL.parse().expect("a time");
    Heartbeat {
        head: head_of(station),
        depth: station.entries.len() as u64,
        oldest: Some(wall),
        version: "0.1.0".to_owned(),
        wall,
        clock_offset_ms: Some(-12),
        key_protection: "file".to_owned(),
        devices: vec![DeviceReport { role: "scanner".to_owned(), state: "open".to_owned() }],
        disk_free: Some(1 << 40),
        alarms: vec!["queue_set_aside".to_owned()],
        log: None,
    }
}

/// Entries that no chain will hold.
#[must_use]
pub fn evidence_of(entries: &[Vec<u8>]) -> EvidenceRequest {
    EvidenceRequest { reason: "stopped".to_owned(), entries: entries.iter().cloned().map(HexBytes).collect() }
}

/// A request for the key that is made from `seed`.
#[must_use]
pub fn rotate_request(station: &StationKeys, seed: u8, reason: &str) -> RotateRequest {
    let (keys, hpke_key) = (KeyPair::from_seed(&[seed; 32]), PublicKey([seed ^ 0x55; 32]));
    let message = RotateRequest::proof_message(&station.keys.public(), &keys.public(), &hpke_key);
    let proof = keys.sign(Context::Enrol, &message);
    RotateRequest { public_key: keys.public(), hpke_key, reason: reason.to_owned(), proof }
}

/// The station works with the key from `seed` from here on; its epoch goes on with what the former key signed.
///
/// # Panics
/// If the reply holds no certificate.
pub fn adopt(station: &mut StationKeys, seed: u8, reply: &RotateReply) {
    station.keys = KeyPair::from_seed(&[seed; 32]);
    station.hpke_key = PublicKey([seed ^ 0x55; 32]);
    let certificate = &reply.certificates.last().expect("the new certificate").0;
    station.certificate = lotgate_domain::entry::hash(certificate);
}

/// The end of a station that wrote something.
///
/// # Panics
/// If it wrote nothing.
#[must_use]
pub fn retire_request(station: &StationKeys) -> RetireRequest {
    let through = head_of(station).expect("an entry");
    RetireRequest { through, reason: "replaced by a new machine".to_owned() }
}
