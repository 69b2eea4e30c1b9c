//! Chains that fork: clones, restored machines, and what the cloud makes of both branches (PROTOCOL §3).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    reason = "a test fails by panicking, and shares its parts"
)]

#[path = "parts/cloud.rs"]
mod cloud;
#[path = "parts/station.rs"]
mod station;

use cloud::{Cloud, Reply};
use lotgate_domain::entry;
use lotgate_domain::ids::Hash;
use lotgate_domain::ledger::{Leaf, Place};
use lotgate_domain::operation::body::Body;
use lotgate_domain::protocol::After;
use lotgate_domain::statement::event::ForkFound;
use lotgate_domain::statement::{self, Verdict};
use proptest::prelude::*;
use station::{Writer, scan};
use std::collections::BTreeSet;

/// A machine with all that it wrote.
struct Machine {
    writer: Writer,
    entries: Vec<Vec<u8>>,
}

impl Machine {
    fn new(scans: usize) -> Self {
        let mut writer = Writer::new(1);
        let entries = writer.enrolled_with_scans(scans);
        Self { writer, entries }
    }

    /// A copy of the machine, taken after `count` entries.
    fn copy(&self, count: usize, number: u64) -> Self {
        let mut writer = self.writer.clone_machine(number);
        let entries = self.entries[..count].to_vec();
        writer.seq = count.try_into().unwrap();
        writer.prev = entries.last().map_or(writer.station.certificate, |bytes| entry::hash(bytes));
        Self { writer, entries }
    }

    fn write(&mut self, lot: &str, count: usize) {
        for _ in 0..count {
            let bytes = self.writer.write(scan(lot));
            self.entries.push(bytes);
        }
    }

    fn after(&self, count: usize) -> After {
        let hash = count.checked_sub(1).map(|last| entry::hash(&self.entries[last]));
        After { seq: count.try_into().unwrap(), hash: hash.unwrap_or(self.writer.station.certificate) }
    }

    fn push(&self, cloud: &mut Cloud, from: usize, to: usize) -> Reply {
        let entries = &self.entries[from..to];
        cloud.push(&self.writer.station, self.writer.epoch, self.after(from), entries).expect("no mismatch")
    }

    fn push_all(&self, cloud: &mut Cloud) -> Reply {
        self.push(cloud, 0, self.entries.len())
    }

    fn held(&self, cloud: &Cloud, branch: u64) -> Vec<Vec<u8>> {
        let of_branch = |(place, _): &(Place, _)| place.branch == branch;
        let entries = cloud.store.entries(self.writer.station.id).filter(of_branch);
        entries.map(|(_, entry)| entry.bytes.clone()).collect()
    }
}

fn forks(cloud: &Cloud) -> Vec<ForkFound> {
    let forks = cloud.store.leaves.iter().filter_map(|leaf| match leaf {
        Leaf::Statement { kind: "fork.found", bytes, .. } => Some(bytes),
        _ => None,
    });
    let tenant = Writer::new(1).station.tenant;
    forks.map(|bytes| statement::read(bytes, tenant, &cloud.keys.public()).unwrap().value).collect()
}

#[test]
fn the_first_entry_at_a_taken_place_begins_a_branch_with_a_leaf_that_names_both() {
    for (common, each) in [(3, 1), (3, 4), (1, 2)] {
        let mut ours = Machine::new(common - 1);
        let mut other = ours.copy(common, 1);
        ours.write("ours", each);
        other.write("other", each);
        let mut cloud = Cloud::new();
        let before = ours.push_all(&mut cloud);
        assert_eq!((before.branch, before.codes()), (0, Vec::new()));
        let reply = other.push_all(&mut cloud);
        assert_eq!((reply.branch, reply.stopped, reply.through.hash), (1, None, other.writer.prev));
        assert_eq!(reply.codes(), vec!["depends_on_unapplied"; each], "the part in common stays as it was");
        let told = reply.verdicts.iter().flat_map(|batch| &batch.value.exceptions);
        assert!(told.clone().all(|e| e.verdict == Verdict::Quarantined));
        let found = forks(&cloud);
        let [fork] = found.as_slice() else { panic!("{found:?}") };
        let place = u64::try_from(common).unwrap() + 1;
        assert_eq!((fork.seq, fork.epoch_n, fork.branch), (place, 1, 1));
        assert_eq!(fork.held, entry::hash(&ours.entries[common]));
        assert_eq!(fork.other, entry::hash(&other.entries[common]));
        assert_eq!(ours.held(&cloud, 0), ours.entries, "the first branch is whole");
        assert_eq!(ours.held(&cloud, 1), other.entries[common..], "the other has its own");
        let head = cloud.store.entries(ours.writer.station.id).filter(|(place, _)| place.branch == 0).last();
        assert_eq!(head.unwrap().1.hash, ours.writer.prev, "the head is that of the first branch");
        for from in 0..=common {
            let again = other.push(&mut cloud, from, other.entries.len());
            assert_eq!((again.branch, again.first_index), (1, None), "known from {from} on");
        }
        assert_eq!(forks(&cloud).len(), 1, "found once");
        cloud.check(&ours.writer.station);
    }
}

#[test]
fn both_branches_go_on_and_neither_is_applied_from_the_fork_on() {
    let mut ours = Machine::new(2);
    let mut other = ours.copy(2, 1);
    ours.write("ours", 1);
    other.write("other", 1);
    let mut cloud = Cloud::new();
    ours.push_all(&mut cloud);
    other.push_all(&mut cloud);
    ours.write("ours", 2);
    let on = ours.push(&mut cloud, 4, 6);
    assert_eq!((on.branch, on.codes()), (0, vec!["depends_on_unapplied"; 2]));
    other.write("other", 1);
    let on = other.push(&mut cloud, 3, 4);
    assert_eq!((on.branch, on.codes()), (1, vec!["depends_on_unapplied"]));
    cloud.check(&ours.writer.station);
}

#[test]
fn a_fork_that_was_found_before_the_first_branch_came_further_holds_it_back_from_there_only() {
    let mut ours = Machine::new(2);
    let mut other = ours.copy(3, 1);
    ours.write("ours", 4);
    other.write("other", 1);
    let mut cloud = Cloud::new();
    ours.push(&mut cloud, 0, 4);
    other.push_all(&mut cloud);
    // The fork is at seq 4, where the first branch already has an entry that was applied.
    let rest = ours.push(&mut cloud, 4, 7);
    assert_eq!(rest.codes(), vec!["depends_on_unapplied"; 3]);
    let judged = cloud.judged();
    assert!(judged[..4].iter().all(|(_, code)| code.is_none()), "what came before is not judged again");
    cloud.check(&ours.writer.station);
}

#[test]
fn branches_leave_each_other_at_any_place_and_are_walked_along_from_the_start() {
    let mut first = Machine::new(3);
    let mut second = first.copy(2, 1);
    first.write("first", 3);
    second.write("second", 4);
    let mut third = second.copy(4, 2);
    third.write("third", 2);
    let mut fourth = first.copy(1, 3);
    fourth.write("fourth", 3);
    let mut cloud = Cloud::new();
    for (machine, branch, batches) in [(&first, 0, 1), (&second, 1, 2), (&third, 2, 3), (&fourth, 3, 2)] {
        let reply = machine.push_all(&mut cloud);
        assert_eq!((reply.branch, reply.verdicts.len()), (branch, batches), "branch {branch}");
        assert_eq!(reply.through.hash, machine.writer.prev);
    }
    let places: Vec<_> = forks(&cloud).iter().map(|fork| (fork.branch, fork.seq)).collect();
    assert_eq!(places, [(1, 3), (2, 5), (3, 2)]);
    for machine in [&first, &second, &third, &fourth] {
        let again = machine.push_all(&mut cloud);
        assert_eq!((again.first_index, again.through.hash), (None, machine.writer.prev));
    }
    cloud.check(&first.writer.station);
}

#[test]
fn what_a_push_comes_after_may_lie_on_any_branch_but_nowhere_else() {
    let mut ours = Machine::new(2);
    let mut other = ours.copy(2, 1);
    ours.write("ours", 2);
    other.write("other", 3);
    let mut cloud = Cloud::new();
    ours.push_all(&mut cloud);
    other.push(&mut cloud, 0, 4);
    assert_eq!(other.push(&mut cloud, 4, 5).branch, 1);
    let (station, epoch) = (&ours.writer.station, ours.writer.epoch);
    let nowhere = After { seq: 4, hash: Hash::ZERO };
    assert!(cloud.push(station, epoch, nowhere, &[]).is_none(), "an entry of no branch");
    let spliced = cloud.push(station, epoch, ours.after(4), &other.entries[4..]).unwrap();
    assert_eq!(spliced.stopped.map(|stopped| stopped.seq), Some(5), "one branch's entry after another's");
    cloud.check(&ours.writer.station);
}

#[test]
fn a_second_epoch_of_the_same_number_is_a_branch_from_its_first_entry_on() {
    let mut machine = Machine::new(1);
    let mut cloud = Cloud::new();
    machine.push_all(&mut cloud);
    let mut clone = machine.copy(2, 1);
    let open = |machine: &mut Machine, id: u8| {
        let first = machine.writer.open_epoch(2, id);
        machine.entries = vec![first, machine.writer.write(scan("L1"))];
    };
    open(&mut machine, 20);
    open(&mut clone, 21);
    let ours = machine.push_all(&mut cloud);
    assert_eq!((ours.branch, ours.codes()), (0, vec!["epoch_unconfirmed"; 2]));
    let other = clone.push_all(&mut cloud);
    assert_eq!((other.branch, other.codes()), (1, vec!["depends_on_unapplied"; 2]));
    clone.write("on", 1);
    assert_eq!(clone.push(&mut cloud, 2, 3).branch, 1, "it goes on in its own");
    assert_eq!(machine.push_all(&mut cloud).branch, 0);
    cloud.check(&machine.writer.station);
}

#[test]
fn a_fork_is_found_though_a_crash_came_between_ingest_and_numbering() {
    let mut ours = Machine::new(3);
    let mut other = ours.copy(2, 1);
    other.write("other", 3);
    ours.write("ours", 1);
    let mut cloud = Cloud::new();
    let (station, epoch) = (ours.writer.station.clone(), ours.writer.epoch);
    for (machine, from, to) in [(&ours, 0, 3), (&other, 0, 4), (&ours, 3, 5), (&other, 4, 5)] {
        cloud.take(&station, epoch, machine.after(from), &machine.entries[from..to]).unwrap();
    }
    assert!(cloud.store.leaves.is_empty());
    cloud.number();
    assert_eq!(forks(&cloud).len(), 1);
    assert_eq!(other.push_all(&mut cloud).branch, 1);
    cloud.check(&ours.writer.station);
}

#[test]
fn entries_that_open_no_epoch_never_begin_a_branch() {
    let mut machine = Machine::new(2);
    let mut cloud = Cloud::new();
    machine.push_all(&mut cloud);
    (machine.writer.seq, machine.writer.prev) = (0, machine.writer.station.certificate);
    let stray = machine.writer.write(Body::EpochOpened { reason: "forked".into(), last: None, anchor: None });
    let reply = cloud.push_all(&machine.writer.station, machine.writer.epoch, &[stray]);
    assert!(reply.stopped.is_some() && forks(&cloud).is_empty(), "epoch 1 begins with the enrolment");
    cloud.check(&machine.writer.station);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn clones_pushed_in_any_order_and_pieces_lose_nothing_and_each_entry_is_numbered_once(
        places in prop::collection::vec((0usize..4, 1usize..9), 3),
        turns in prop::collection::vec((0usize..4, 1usize..6, 0usize..4, any::<bool>()), 6..40),
    ) {
        let mut machines = vec![Machine::new(8)];
        for (n, (of, place)) in (1..).zip(places) {
            let parent = &machines[of.min(machines.len() - 1)];
            let place = place.min(parent.entries.len());
            let mut copy = parent.copy(place, n);
            copy.write("copy", 4);
            machines.push(copy);
        }
        let mut cloud = Cloud::new();
        let mut known = vec![0; machines.len()];
        let rest = (0..machines.len()).map(|who| (who, 99, 0, true));
        for (who, count, back, whole) in turns.into_iter().chain(rest) {
            let machine = &machines[who];
            let from = known[who] - back.min(known[who]);
            let to = (from + count).min(machine.entries.len());
            if whole {
                let reply = machine.push(&mut cloud, from, to);
                prop_assert_eq!((reply.stopped, reply.through.hash), (None, machine.after(to).hash));
            } else {
                let station = machine.writer.station.clone();
                let entries = &machine.entries[from..to];
                cloud.take(&station, machine.writer.epoch, machine.after(from), entries).unwrap();
            }
            known[who] = known[who].max(to);
        }
        cloud.number();
        cloud.check(&machines[0].writer.station);
        let written: BTreeSet<Vec<u8>> = machines.iter().flat_map(|m| m.entries.iter().cloned()).collect();
        let numbered: Vec<Vec<u8>> = cloud.judged().into_iter().map(|(bytes, _)| bytes).collect();
        prop_assert_eq!(numbered.len(), written.len(), "once each");
        prop_assert_eq!(numbered.into_iter().collect::<BTreeSet<_>>(), written);
        for machine in &machines {
            let reply = machine.push_all(&mut cloud);
            prop_assert_eq!((reply.first_index, reply.through.hash), (None, machine.writer.prev));
        }
    }
}
