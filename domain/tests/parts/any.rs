//! Any operation that can be written.

use jiff::civil::Date;
use lotgate_domain::canonical::MAX_INTEGER;
use lotgate_domain::ids::{
    BootId, Epoch, EpochId, Hash, KeyId, OperationId, PersonId, SiteId, StationId, TenantId,
};
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::operation::body::{
    Body, ChainPoint, Device, Element, JobState, LabelQueued, LabelState, ScanAccepted, ScanRefused,
    SnapshotLot,
};
use lotgate_domain::operation::{ALG, Actor, At, Clock, Knew, Operation, Program, Reason, ServerTime, State};
use lotgate_domain::reference::LotStatus;
use lotgate_domain::time::Timestamp;
use proptest::option::of;
use proptest::prelude::*;

/// Any text, control characters and all planes included.
pub fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..8).prop_map(|chars| chars.into_iter().collect())
}

pub fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(MAX_INTEGER), 0..=MAX_INTEGER]
}

fn id<T>(make: fn(u64, &[u8; 10]) -> T) -> impl Strategy<Value = T>
where
    T: std::fmt::Debug,
{
    (0..1_u64 << 48, any::<[u8; 10]>()).prop_map(move |(ms, random)| make(ms, &random))
}

pub fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(|ms| Timestamp::from_unix_ms(ms % 260_000_000_000_000))
}

fn day() -> impl Strategy<Value = Date> {
    (0..=9999_i16, 1..=12_i8, 1..=28_i8).prop_map(|(y, m, d)| jiff::civil::date(y, m, d))
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (count(), any::<[u8; 16]>()).prop_map(|(n, id)| Epoch { n, id: EpochId(id) })
}

fn point() -> impl Strategy<Value = ChainPoint> {
    (epoch(), count(), hash()).prop_map(|(epoch, seq, hash)| ChainPoint { epoch, seq, hash })
}

fn device() -> impl Strategy<Value = Device> {
    (text(), text(), text(), any::<bool>()).prop_map(|(role, transport, id, simulated)| Device {
        role,
        transport,
        id,
        simulated,
    })
}

fn raw() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(hex::encode)
}

fn elements() -> impl Strategy<Value = Vec<Element>> {
    prop::collection::vec((text(), text()).prop_map(|(ai, value)| Element { ai, value }), 0..4)
}

fn snapshot_lot() -> impl Strategy<Value = SnapshotLot> {
    let statuses = [LotStatus::Released, LotStatus::Quarantine, LotStatus::Hold, LotStatus::Rejected];
    (prop::sample::select(statuses.to_vec()), of(day()))
        .prop_map(|(status, expiry)| SnapshotLot { status, expiry })
}

fn scanned() -> impl Strategy<Value = (Device, String, Option<String>, String, String, Vec<Element>)> {
    (device(), raw(), of(text()), text(), text(), elements())
}

fn queued() -> impl Strategy<Value = LabelQueued> {
    let of_scan = (id(OperationId::from_parts), text(), text(), snapshot_lot());
    let itself = (text(), count(), of(id(OperationId::from_parts)), elements(), hash(), count());
    (device(), text(), text(), of_scan, itself).prop_map(|(printer, template, language, of_scan, itself)| {
        let (scan, item, lot, snapshot_lot) = of_scan;
        let (serial, copy, of, elements, sha256, bytes) = itself;
        LabelQueued {
            printer,
            template,
            language,
            scan,
            item,
            lot,
            snapshot_lot,
            serial,
            copy,
            of,
            elements,
            sha256,
            bytes,
        }
    })
}

fn state() -> impl Strategy<Value = LabelState> {
    use JobState::{Cancelled, Confirmed, ResolvedNotPrinted, ResolvedPrinted, Sending, Sent, Unknown};
    let states = vec![Sending, Sent, Confirmed, Unknown, ResolvedPrinted, ResolvedNotPrinted, Cancelled];
    (id(OperationId::from_parts), prop::sample::select(states), of(text()), of(text()))
        .prop_map(|(job, state, evidence, cause)| LabelState { job, state, evidence, cause })
}

pub fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        queued().prop_map(Body::LabelQueued),
        state().prop_map(Body::LabelState),
        (hash(), text())
            .prop_map(|(certificate, key_protection)| Body::StationEnrolled { certificate, key_protection }),
        (text(), of(point()), of(point())).prop_map(|(reason, last, anchor)| Body::EpochOpened {
            reason,
            last,
            anchor
        }),
        (id(OperationId::from_parts), count(), time()).prop_map(|(of, count, last_at)| Body::ScanRepeated {
            of,
            count,
            last_at
        }),
        (scanned(), text(), text(), snapshot_lot()).prop_map(|(scanned, item, lot, snapshot_lot)| {
            let (device, raw, aim, symbology, kind, elements) = scanned;
            let scan = ScanAccepted { device, raw, aim, symbology, kind, elements, item, lot, snapshot_lot };
            Body::ScanAccepted(scan)
        }),
        (scanned(), of(text()), of(text()), of(snapshot_lot()), text()).prop_map(
            |(scanned, item, lot, snapshot_lot, code)| {
                let (device, raw, aim, symbology, kind, elements) = scanned;
                let scan = ScanRefused {
                    device,
                    raw,
                    aim,
                    symbology,
                    kind,
                    elements,
                    item,
                    lot,
                    snapshot_lot,
                    code,
                };
                Body::ScanRefused(scan)
            }
        ),
    ]
}

fn at() -> impl Strategy<Value = At> {
    let clocks = vec![Clock::Ok, Clock::Unsynced, Clock::RolledBack, Clock::Accepted];
    let server = of((time(), count()).prop_map(|(time, age_ms)| ServerTime { time, age_ms }));
    let select = prop::sample::select(clocks);
    (time(), any::<i32>(), count(), id(BootId::from_parts), server, select).prop_map(
        |(wall, offset_minutes, mono_ms, boot, server, clock)| At {
            wall,
            offset_minutes,
            mono_ms,
            boot,
            server,
            clock,
        },
    )
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![Just(Actor::Station), id(PersonId::from_parts).prop_map(Actor::Person)]
}

fn knew() -> impl Strategy<Value = Knew> {
    let log = of((count(), hash()).prop_map(|(size, root)| TreeHead { size, root }));
    (count(), hash(), count(), log).prop_map(|(snapshot, hash, age_ms, log)| Knew {
        snapshot,
        hash,
        age_ms,
        log,
    })
}

pub fn operation() -> impl Strategy<Value = Operation> {
    let names = (
        any::<[u8; 16]>().prop_map(KeyId),
        id(OperationId::from_parts),
        id(TenantId::from_parts),
        id(SiteId::from_parts),
        id(StationId::from_parts),
    );
    let place = (epoch(), count(), hash(), at());
    let reason = of((text(), text()).prop_map(|(code, text)| Reason { code, text }));
    let who = (actor(), of(text()), reason, of(knew()));
    let state = (of(hash()), of(hash())).prop_map(|(before, after)| State { before, after });
    let program = (text(), text(), hash()).prop_map(|(version, build, config_sha256)| Program {
        version,
        build,
        config_sha256,
    });
    (names, place, who, state, program, body()).prop_map(|(names, place, who, state, program, body)| {
        let (key, id, tenant, site, station) = names;
        let (epoch, seq, prev, at) = place;
        let (actor, role, reason, knew) = who;
        let alg = ALG.to_owned();
        Operation {
            v: 1,
            alg,
            key,
            id,
            tenant,
            site,
            station,
            epoch,
            seq,
            prev,
            at,
            actor,
            role,
            reason,
            knew,
            state,
            program,
            body,
        }
    })
}
