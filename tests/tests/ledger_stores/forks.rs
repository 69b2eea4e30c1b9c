//! Chains that forked: a clone, a restored machine, and what became of both.

use super::both::Both;
use super::{scans, stopped, through, told};
use lotgate_domain::ids::EpochId;
use lotgate_tests::station_keys::StationKeys;

/// A station whose chain was pushed as it is in `before`, and which went back to `place` and wrote on.
async fn forked(name: &str, place: usize) -> (Both, StationKeys, Vec<Vec<u8>>) {
    let (mut both, mut keys) = Both::new(name, 1, true).await;
    let mut station = keys.remove(0);
    scans(&mut station, 6);
    both.push(0, &station.push_all()).await;
    let before = station.go_back(place);
    scans(&mut station, 3);
    (both, station, before)
}

#[tokio::test]
async fn a_second_branch_is_kept_numbered_and_not_applied() {
    let (mut both, mut station, before) = Box::pin(forked("fork", 3)).await;
    assert_eq!(both.rows("SELECT lot FROM scan").await.len(), 6);
    let reply = both.push(0, &station.push_all()).await;
    assert_eq!((through(&reply), stopped(&reply), reply.branch), (6, None, 1));
    assert_eq!(reply.verdicts.len(), 2, "of the part in common, and of the branch");
    let unapplied: Vec<_> = (0..3).map(|n| (n, "depends_on_unapplied")).collect();
    assert_eq!(both.last_exceptions(), told(&unapplied));
    let found = both.rows("SELECT statement_kind FROM leaf WHERE kind = 'statement'").await;
    assert_eq!(found, ["fork.found"]);
    let again = both.push(0, &station.push(3, 6)).await;
    assert_eq!((again.branch, again.verdicts.len(), again.first_index), (1, 1, None), "known now");

    // Both go on, and neither is applied from the fork on.
    station.append_scan("A", "of the clone");
    let reply = both.push(0, &station.push(6, 7)).await;
    assert_eq!((reply.branch, through(&reply)), (1, 7));
    assert_eq!(both.last_exceptions(), told(&[(0, "depends_on_unapplied")]));
    station.entries = before;
    station.append_scan("A", "of the first");
    let reply = both.push(0, &station.push(7, 8)).await;
    assert_eq!((reply.branch, through(&reply)), (0, 8));
    assert_eq!(both.last_exceptions(), told(&[(0, "depends_on_unapplied")]));
    assert_eq!(both.rows("SELECT lot FROM scan").await.len(), 6, "what was applied before stays so");
}

#[tokio::test]
async fn three_branches_leave_each_other_at_different_places() {
    let (mut both, mut station, first) = Box::pin(forked("three", 3)).await;
    assert_eq!(both.push(0, &station.push(3, 6)).await.branch, 1);
    let second = station.go_back(5);
    scans(&mut station, 2);
    let reply = both.push(0, &station.push_all()).await;
    assert_eq!((reply.branch, through(&reply)), (2, 7), "left the second branch at 6");
    assert_eq!(reply.verdicts.len(), 3, "a batch of each branch that it walked along");
    station.entries = first;
    station.go_back(2);
    scans(&mut station, 4);
    let reply = both.push(0, &station.push(1, 6)).await;
    assert_eq!((reply.branch, through(&reply)), (3, 6), "left the first at 3, before the others did");
    for (entries, branch) in [(second, 1), (station.entries.clone(), 3)] {
        station.entries = entries;
        station.append_scan("A", "on");
        let last = station.entries.len();
        assert_eq!(both.push(0, &station.push(last - 1, last)).await.branch, branch);
    }
    let found = both.rows("SELECT 'x' FROM leaf WHERE statement_kind = 'fork.found'").await;
    assert_eq!(found.len(), 3, "each branch once");
}

#[tokio::test]
async fn a_clone_that_pushes_from_its_oldest_entry_is_told_its_branch() {
    let (mut both, station, _) = Box::pin(forked("clone", 4)).await;
    for _ in 0..2 {
        let reply = both.push(0, &station.push_all()).await;
        assert_eq!((reply.branch, through(&reply)), (1, 7));
    }
    let head =
        both.rows("SELECT encode(hash, 'hex') FROM entry WHERE branch = 0 ORDER BY seq DESC LIMIT 1").await;
    let told = lotgate_domain::protocol::CloudApi::head(&both.session(0)).await.unwrap();
    assert_eq!(told.hash.to_string(), head[0], "the head is that of the first branch");
}

#[tokio::test]
async fn a_fork_that_a_crash_left_waiting_is_found_all_the_same() {
    let (mut both, station, _) = Box::pin(forked("fork_waits", 3)).await;
    assert!(both.take(0, &station.push(3, 5)).await);
    assert!(both.take(0, &station.push(5, 6)).await);
    let reply = both.push(0, &station.push(2, 6)).await;
    assert_eq!((reply.branch, reply.verdicts.len()), (1, 3));
    let found = both.rows("SELECT 'x' FROM leaf WHERE statement_kind = 'fork.found'").await;
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_second_epoch_of_the_same_number_is_a_branch_from_its_first_entry() {
    let (mut both, mut station, _) = Box::pin(forked("epoch_twice", 3)).await;
    station.entries.clear();
    station.epoch.id = EpochId([0xaa; 16]);
    station.append_enrolled();
    station.append_scan("A", "again");
    let reply = both.push(0, &station.push_all()).await;
    assert_eq!((reply.branch, through(&reply), stopped(&reply)), (1, 2, None));
    station.append_scan("A", "and on");
    let reply = both.push(0, &station.push(2, 3)).await;
    assert_eq!((reply.branch, through(&reply)), (1, 3));
}
