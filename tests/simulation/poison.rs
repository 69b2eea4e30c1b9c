//! A station that writes what the cloud does not understand: a later program, a wrong one, a broken one. What it
//! sends may delay nobody.

use lotgate_domain::canonical;
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::ids::{BootId, Epoch, EpochId, Hash, OperationId, StationId};
use lotgate_domain::ledger::{Leaf, Store as _};
use lotgate_domain::operation::{ALG, Actor, At, Clock, Operation, Program, State};
use lotgate_domain::protocol::After;
use lotgate_domain::protocol::StopCode;
use lotgate_domain::protocol::push::{PushClock, PushHeader, PushRequest};
use lotgate_domain::signature::{Context, KeyPair};
use serde_json::{Value, json};

use super::cloud::{Cloud, time};
use super::world::World;
use super::{Wrong, ready};

/// The station.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foreign {
    id: StationId,
    certificate: Hash,
    next: u64,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poison {
    UnknownType,
    InvalidBody,
    ReusedId,
    BadSignature,
    BrokenChain,
}

fn keys() -> KeyPair {
    KeyPair::from_seed(&[77; 32])
}

impl Foreign {
    pub(crate) fn enrol(cloud: &mut Cloud) -> Self {
        let keys = keys();
        let id = StationId::from_parts(5, &[5; 10]);
        cloud.enrol(id, keys.public(), keys.public());
        let certificate = cloud.store.stations[&id].certificate;
        Self { id, certificate, next: 0 }
    }

    fn write(&mut self, cloud: &Cloud, after: After, poison: Option<Poison>, now: u64) -> Vec<u8> {
        self.next += 1;
        let epoch = Epoch { n: 1, id: EpochId([6; 16]) };
        let certificate = self.certificate;
        let body = match poison {
            _ if after.seq == 0 => {
                json!({ "type": "station.enrolled", "certificate": certificate, "key_protection": "file" })
            }
            Some(Poison::UnknownType) => json!({ "type": "scan.dreamt", "depth": 3 }),
            Some(Poison::InvalidBody) => json!({ "type": "scan.repeated", "of": "nothing" }),
            _ => {
                json!({ "type": "scan.repeated", "of": OperationId::from_parts(1, &[1; 10]), "count": 1, "last_at": time(now) })
            }
        };
        let mut random = [8; 10];
        random[..8].copy_from_slice(&self.next.to_be_bytes());
        let reused = cloud.store.leaves.iter().rev().find_map(|leaf| match leaf {
            Leaf::Operation { entry, .. } => entry.id(),
            _ => None,
        });
        let reused = reused.filter(|_| poison == Some(Poison::ReusedId));
        let wrong = poison == Some(Poison::BrokenChain);
        let operation: Operation<Value> = Operation {
            v: 1,
            alg: ALG.to_owned(),
            key: keys().public().key_id(),
            id: reused.unwrap_or_else(|| OperationId::from_parts(9, &random)),
            tenant: cloud.tenant.id,
            site: cloud.tenant.site.id,
            station: self.id,
            epoch,
            seq: after.seq + 1,
            prev: if wrong { Hash::ZERO } else { after.hash },
            at: At {
                wall: time(now),
                offset_minutes: 0,
                mono_ms: now,
                boot: BootId::from_parts(3, &[3; 10]),
                server: None,
                clock: Clock::Unsynced,
            },
            actor: Actor::Station,
            role: None,
            reason: None,
            knew: None,
            state: State::default(),
            program: Program {
                version: "9.0.0".to_owned(),
                build: "foreign".to_owned(),
                config_sha256: Hash::of(b""),
            },
            body,
        };
        let other = KeyPair::from_seed(&[78; 32]);
        let keys = if poison == Some(Poison::BadSignature) { other } else { keys() };
        entry::sign(&canonical::write(&operation).unwrap(), Context::Operation, &keys).unwrap()
    }
}

/// Pushes some entries, one of them poison, and sees that nothing but the poison suffers.
pub(crate) fn push(world: &mut World) -> Result<(), Wrong> {
    let kinds = [
        Poison::UnknownType,
        Poison::InvalidBody,
        Poison::ReusedId,
        Poison::BadSignature,
        Poison::BrokenChain,
    ];
    let (poison, count) = (world.plan.pick(&kinds), world.plan.between(3, 7));
    let now = world.now;
    let (foreign, cloud) = (&mut world.foreign, &mut world.cloud);
    let head = ready(cloud.store.head(foreign.id)).unwrap();
    let start = head
        .map_or(After { seq: 0, hash: foreign.certificate }, |head| After { seq: head.seq, hash: head.hash });
    let at = world.plan.between(1, count - 1);
    let (mut after, mut entries) = (start, Vec::new());
    for place in 0..count {
        let bytes = foreign.write(cloud, after, (place == at).then_some(poison), now);
        after = After { seq: after.seq + 1, hash: entry::hash(&bytes) };
        entries.push(bytes);
    }
    let clock = PushClock { wall: time(now), mono_ms: now, boot: BootId::from_parts(3, &[3; 10]) };
    let epoch = Epoch { n: 1, id: EpochId([6; 16]) };
    let header = PushHeader { v: 1, epoch, after: start, count, clock, log: None };
    let request = PushRequest { header, entries: entries.concat() };
    let key = keys().public();
    let waiting = ready(cloud.store.waiting(u64::MAX)).unwrap().len();
    let taken =
        cloud.take(foreign.id, key, &request, now).map_err(|error| Wrong::new("i", format!("{error:?}")))?;
    let before = cloud.store.leaves.len();
    let reply = cloud.finish(taken, now);
    let stopped = match poison {
        Poison::BadSignature => Some(StopCode::BadSignature),
        Poison::BrokenChain => Some(StopCode::BrokenChain),
        _ => None,
    };
    let through = if stopped.is_some() { start.seq + at } else { start.seq + count };
    let fits = reply.accepted_through.seq == through && reply.stopped.map(|stopped| stopped.code) == stopped;
    if !fits {
        return Err(Wrong::new("i", format!("{poison:?} at {at} of {count}: {reply:?}")));
    }
    if waiting <= 15 && !ready(cloud.store.waiting(1)).unwrap().is_empty() {
        return Err(Wrong::new("i", "poison kept another batch waiting"));
    }
    let poisoned = Frame::read(&entries[usize::try_from(at).unwrap()]).unwrap().hash();
    for leaf in &cloud.store.leaves[before..] {
        let Leaf::Operation { station, entry, exception, .. } = leaf else { continue };
        if *station == foreign.id {
            // An id is reused only if some operation was there to take it from.
            let excused = poison == Poison::ReusedId && entry.hash == poisoned;
            if exception.is_some() != (entry.hash == poisoned) && !excused {
                return Err(Wrong::new("i", format!("{poison:?} changed a verdict: {exception:?}")));
            }
        }
    }
    Ok(())
}
