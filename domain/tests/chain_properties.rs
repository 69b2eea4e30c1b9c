//! A chain follows from its certificate entry by entry, and from no other order of entries (PROTOCOL §1, §9.4).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking, and shares its parts"
)]

#[path = "parts/station.rs"]
mod station;

use lotgate_domain::chain::{ChainBreak, Head};
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Epoch, EpochId, Hash};
use lotgate_domain::operation::{self, Header, TypeOnly};
use proptest::prelude::*;
use station::{Writer, scan};

/// Epochs of `lengths` entries each; returns the station's certificate and the entries.
fn chain(lengths: &[usize]) -> (Hash, Vec<Vec<u8>>) {
    let mut writer = Writer::new(1);
    let mut entries = Vec::new();
    for (n, length) in (1_u64..).zip(lengths) {
        if n == 1 {
            entries.extend(writer.enrolled_with_scans(length - 1));
        } else {
            entries.push(writer.open_epoch(n, 0xee));
            entries.extend((1..*length).map(|_| writer.write(scan("L1"))));
        }
    }
    (writer.station.certificate, entries)
}

/// The head after all of `entries`, or the place of the first that does not follow, and why.
fn follow(certificate: Hash, entries: &[Vec<u8>]) -> Result<Head, (usize, ChainBreak)> {
    let mut head = Head::genesis(certificate);
    for (place, bytes) in entries.iter().enumerate() {
        let read = operation::read(&Frame::read(bytes).unwrap()).unwrap();
        head = head.follow(certificate, &read.header, read.hash).map_err(|reason| (place, reason))?;
    }
    Ok(head)
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..6, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_chain_that_is_written_follows(lengths in lengths()) {
        let (certificate, entries) = chain(&lengths);
        let head = follow(certificate, &entries).unwrap();
        let last = *lengths.last().unwrap();
        prop_assert_eq!(head.epoch.unwrap().n, u64::try_from(lengths.len()).unwrap());
        prop_assert_eq!(head.seq, u64::try_from(last).unwrap());
        prop_assert_eq!(head.hash, lotgate_domain::entry::hash(entries.last().unwrap()));
    }

    #[test]
    fn an_entry_that_is_dropped_before_another_of_its_epoch_is_missed(
        lengths in lengths(),
        place in any::<prop::sample::Index>(),
    ) {
        let (certificate, mut entries) = chain(&lengths);
        let place = place.index(entries.len());
        let mut end = 0;
        let ends: Vec<usize> = lengths.iter().map(|length| { end += length; end - 1 }).collect();
        entries.remove(place);
        let outcome = follow(certificate, &entries);
        if ends.contains(&place) {
            prop_assert!(outcome.is_ok(), "the end of an epoch is known only to the cloud and the next push");
        } else {
            prop_assert_eq!(outcome, Err((place, ChainBreak::Gap)));
        }
    }

    #[test]
    fn an_entry_twice_does_not_follow(lengths in lengths(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let (certificate, mut entries) = chain(&lengths);
        let again = from.get(&entries).clone();
        let place = to.index(entries.len() + 1);
        entries.insert(place, again);
        let outcome = follow(certificate, &entries);
        let from = from.index(entries.len() - 1);
        let found = outcome.unwrap_err().0;
        prop_assert!(found <= place.max(from) + 1, "found at {}, {} stood again at {}", found, from, place);
    }

    #[test]
    fn two_entries_exchanged_do_not_follow(lengths in lengths(), one in any::<prop::sample::Index>(), two in any::<prop::sample::Index>()) {
        let (certificate, mut entries) = chain(&lengths);
        let (one, two) = (one.index(entries.len()), two.index(entries.len()));
        prop_assume!(one != two);
        entries.swap(one, two);
        let (found, _) = follow(certificate, &entries).unwrap_err();
        prop_assert!(found <= one.max(two), "found at {}", found);
    }

    #[test]
    fn an_entry_written_anew_breaks_the_chain_after_it(
        length in 3usize..8,
        place in any::<prop::sample::Index>(),
    ) {
        let (certificate, mut entries) = chain(&[length]);
        let place = 1 + place.index(length - 2);
        let mut writer = Writer::new(1);
        writer.enrolled_with_scans(place - 1);
        entries[place] = writer.write(scan("another lot"));
        prop_assert_eq!(follow(certificate, &entries), Err((place + 1, ChainBreak::Previous)));
    }

    #[test]
    fn a_chain_of_another_certificate_does_not_follow(lengths in lengths()) {
        let (_, entries) = chain(&lengths);
        prop_assert_eq!(follow(Hash::ZERO, &entries), Err((0, ChainBreak::Previous)));
    }
}

fn header(n: u64, id: u8, seq: u64, prev: Hash, kind: &str) -> Header {
    let writer = Writer::new(1);
    Header {
        v: 1,
        alg: operation::ALG.to_owned(),
        key: writer.keys.public().key_id(),
        tenant: writer.station.tenant,
        station: writer.station.id,
        epoch: Epoch { n, id: EpochId([id; 16]) },
        seq,
        prev,
        body: TypeOnly { kind: kind.to_owned() },
    }
}

#[test]
fn what_may_come_first_and_next_is_a_table() {
    let (certificate, last) = (Hash::of(b"certificate"), Hash::of(b"last"));
    let genesis = Head::genesis(certificate);
    let second = Head { epoch: Some(Epoch { n: 2, id: EpochId([2; 16]) }), seq: 9, hash: last };
    let end = Head { seq: u64::MAX, ..second };
    let (enrolled, opened, scan) = ("station.enrolled", "epoch.opened", "scan.accepted");
    for (why, head, header, expected) in [
        ("enrolled first", genesis, header(1, 1, 1, certificate, enrolled), None),
        ("opened first", genesis, header(1, 1, 1, certificate, opened), Some(ChainBreak::Genesis)),
        ("a scan first", genesis, header(1, 1, 1, certificate, scan), Some(ChainBreak::Genesis)),
        ("a lost first epoch", genesis, header(2, 1, 1, certificate, opened), None),
        ("enrolled again", genesis, header(2, 1, 1, certificate, enrolled), Some(ChainBreak::Genesis)),
        ("epoch 0", genesis, header(0, 1, 1, certificate, opened), Some(ChainBreak::Epoch)),
        ("seq 0", genesis, header(1, 1, 0, certificate, enrolled), Some(ChainBreak::Gap)),
        ("seq 2 first", genesis, header(1, 1, 2, certificate, enrolled), Some(ChainBreak::Gap)),
        ("not from the certificate", genesis, header(1, 1, 1, last, enrolled), Some(ChainBreak::Previous)),
        ("next", second, header(2, 2, 10, last, scan), None),
        ("a later version's type", second, header(2, 2, 10, last, "unknown"), None),
        ("same seq", second, header(2, 2, 9, last, scan), Some(ChainBreak::Gap)),
        ("a gap", second, header(2, 2, 11, last, scan), Some(ChainBreak::Gap)),
        ("another previous", second, header(2, 2, 10, certificate, scan), Some(ChainBreak::Previous)),
        ("same count, another id", second, header(2, 3, 1, certificate, opened), Some(ChainBreak::Epoch)),
        ("an earlier epoch", second, header(1, 2, 1, certificate, enrolled), Some(ChainBreak::Epoch)),
        ("the next epoch", second, header(3, 3, 1, certificate, opened), None),
        ("a later epoch of the same id", second, header(3, 2, 1, certificate, opened), None),
        ("epochs between are lost", second, header(9, 3, 1, certificate, opened), None),
        ("the next epoch goes on", second, header(3, 3, 10, last, scan), Some(ChainBreak::Gap)),
        (
            "the next epoch from the last entry",
            second,
            header(3, 3, 1, last, opened),
            Some(ChainBreak::Previous),
        ),
        ("after the largest seq", end, header(2, 2, 0, last, scan), Some(ChainBreak::Gap)),
    ] {
        let hash = Hash::of(b"this");
        let followed = head.follow(certificate, &header, hash);
        let expected = expected.map_or(Ok(Head { epoch: Some(header.epoch), seq: header.seq, hash }), Err);
        assert_eq!(followed, expected, "{why}");
    }
}
