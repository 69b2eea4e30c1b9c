//! One epoch ends before the next begins (PROTOCOL §9.13); what else the cloud's head sets going.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Epoch, EpochId, Hash};
use lotgate_domain::protocol::{HeadReply, Limits};
use lotgate_domain::time::Timestamp;
use lotgate_sync::engine::{Action, Engine, Place, Reply, Settings, Wake};

/// Of a cloud that has nothing yet.
fn head_reply() -> HeadReply {
    HeadReply {
        epoch: None,
        seq: 0,
        hash: Hash::ZERO,
        limits: Limits { entries: 10, bytes: 1_048_576, in_flight: 3 },
        restore_window_s: 0,
        time: Timestamp::from_unix_ms(0),
        backoff_ms: 0,
        recovered: Vec::new(),
    }
}

#[test]
fn a_new_epoch_waits_until_the_last_batch_of_the_old_one_was_answered_and_taken() {
    let head = |n: u8, seq| {
        let epoch = Some(Epoch { n: n.into(), id: EpochId([n; 16]) });
        Head { epoch, seq, hash: Hash::of(&[n, u8::try_from(seq).expect("a small number")]) }
    };
    let mut engine = Engine::new(Settings::default(), 0, 31, 0);
    let place = Place { head_held: true, settled: None, restored: false };
    let (id, _) = engine.poll_action(0).expect("a head");
    engine.handle_reply(id, Reply::Head { head: Box::new(head_reply()), place }, 0);
    let mut read = vec![head(1, 10), head(1, 15), head(2, 10)].into_iter();
    let mut pushed = Vec::new();
    let mut poll = |engine: &mut Engine| {
        let mut takes = Vec::new();
        while let Some((id, action)) = engine.poll_action(0) {
            match action {
                Action::Read { .. } => {
                    let reply = read.next().map_or(Reply::Drained, |last| Reply::Batch { last });
                    engine.handle_reply(id, reply, 0);
                }
                Action::Push { batch } => pushed.push((id, batch)),
                Action::Take { .. } => takes.push(id),
                _ => {}
            }
        }
        (pushed.clone(), takes)
    };
    let (old, _) = poll(&mut engine);
    assert_eq!(old.len(), 2, "both batches of the old epoch, and not the one of the new");
    let taken = || Reply::Pushed { stopped: None, forked: false, kept: true };
    for (id, _) in &old {
        assert_eq!(poll(&mut engine).0.len(), 2, "not before the last answer");
        engine.handle_reply(*id, Reply::Answered, 0);
        let (pushed, takes) = poll(&mut engine);
        assert_eq!((pushed.len(), takes.len()), (2, 1), "and not before it is taken");
        engine.handle_reply(takes[0], taken(), 0);
    }
    assert_eq!(poll(&mut engine).0.len(), 3, "now the new epoch goes");
}

#[test]
fn a_restore_of_the_cloud_that_was_accepted_has_the_evidence_looked_through_again() {
    let mut engine = Engine::new(Settings::default(), 0, 31, 0);
    let looked = |engine: &mut Engine, restored| {
        let mut looked = 0;
        engine.handle_wake(Wake::LinkUp, 0);
        while let Some((id, action)) = engine.poll_action(0) {
            match action {
                Action::FetchHead => {
                    let place = Place { head_held: true, settled: None, restored };
                    let head = Box::new(head_reply());
                    engine.handle_reply(id, Reply::Head { head, place }, 0);
                }
                Action::Read { .. } => engine.handle_reply(id, Reply::Drained, 0),
                Action::SendEvidence => {
                    looked += 1;
                    engine.handle_reply(id, Reply::Evidence { more: false }, 0);
                }
                _ => {}
            }
        }
        looked
    };
    assert_eq!(looked(&mut engine, false), 1, "once at the start");
    assert_eq!(looked(&mut engine, false), 0);
    assert_eq!(looked(&mut engine, true), 1);
}
