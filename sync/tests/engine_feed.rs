//! Reference data between a real queue on disk and a cloud in memory with the real rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot be set up must stop"
)]

#[path = "engine/station.rs"]
mod station;

use lotgate_domain::protocol::FeedReply;
use lotgate_sync::engine::status::Link;
use lotgate_sync::queue::QueueAlarm;
use lotgate_sync::runner::{Reference, SyncHandle, SyncStatus};
use station::{QUICK, Running, append, eventually, lots, restore, set_up, settled, until};

#[tokio::test]
async fn reference_data_is_stored_before_it_is_shown_and_outlives_a_restart() {
    let (_rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    let shown = &mut running.handle.reference();
    assert!(shown.borrow().is_none(), "nothing is known before the first page");
    for (cursor, numbers) in [(1, &["L1"][..]), (2, &["L1", "L2"])] {
        cloud.publish(&lots(numbers)).await;
        let newest = |known: &Option<Reference>| known.as_ref().is_some_and(|k| k.mark.cursor == cursor);
        until(shown, "the new page", newest).await;
        let known = shown.borrow_and_update().clone().expect("a snapshot");
        assert_eq!((known.snapshot.cursor, known.snapshot.hash), (known.mark.cursor, known.mark.hash));
        assert_eq!(known.snapshot.lot_count(), numbers.len());
        let stored = queue.page().await.unwrap().expect("a stored page");
        assert_eq!(stored.mark.cursor, cursor, "shown before it was stored");
    }
    let first = shown.borrow_and_update().clone().expect("a snapshot").mark.confirmed;
    until(shown, "the page is confirmed again", |known| {
        known.as_ref().is_some_and(|known| known.mark.confirmed != first)
    })
    .await;
    running.end().await;
    let (handle, _runner) = SyncHandle::prepare(queue.clone(), cloud.clone(), QUICK, 1).await.unwrap();
    let known = handle.reference().borrow().clone().expect("known at once after a restart");
    assert_eq!((known.mark.cursor, known.snapshot.lot_count()), (2, 2));
}

#[tokio::test]
async fn reference_data_that_goes_back_or_does_not_verify_changes_nothing() {
    let (_rig, queue, cloud) = set_up();
    for numbers in [&["L1"][..], &["L1", "L2"]] {
        cloud.publish(&lots(numbers)).await;
    }
    let running = Running::start(&queue, &cloud).await;
    let shown = &mut running.handle.reference();
    until(shown, "page 2", |known| known.as_ref().is_some_and(|known| known.mark.cursor == 2)).await;
    let hash = shown.borrow().as_ref().expect("a snapshot").mark.hash;
    let (back, early) = (cloud.point(1, hash, i64::from(u32::MAX)), cloud.point(2, hash, -1));
    let lies: [(&str, FeedReply); 4] = [
        ("feed_went_back", FeedReply { statement: None, page: None }),
        ("feed_went_back", FeedReply { statement: Some(back), page: None }),
        ("feed_went_back", FeedReply { statement: Some(early), page: None }),
        ("feed_invalid", FeedReply { statement: Some(vec![7; 90]), page: Some(vec![1]) }),
    ];
    for (code, lie) in lies {
        cloud.state.lock().await.tricks.feed = Some(Box::new(move |reply| *reply = lie.clone()));
        let status = &mut running.handle.status();
        let failed =
            |status: &SyncStatus| status.engine.failure.is_some_and(|failure| failure.as_str() == code);
        until(status, code, failed).await;
        append(&queue, 0, 1).await;
        settled(&queue).await;
        let known = shown.borrow_and_update().clone().expect("the old snapshot stays");
        assert_eq!((known.mark.cursor, known.mark.hash, known.snapshot.lot_count()), (2, hash, 2));
        cloud.state.lock().await.tricks.feed = None;
        until(status, "online again", |status| status.engine.link == Link::Online).await;
    }
    running.end().await;
}

#[tokio::test]
async fn after_an_honest_restore_the_feed_is_read_anew_and_new_pages_arrive() {
    let (rig, queue, cloud) = set_up();
    let before = [&["L1"][..], &["L1", "L2"], &["L1", "L2", "L3"], &["L1", "L2", "L3", "L4"]];
    for numbers in before {
        cloud.publish(&lots(numbers)).await;
    }
    let running = Running::start(&queue, &cloud).await;
    let shown = &mut running.handle.reference();
    let at = |cursor: u64, lots: usize| {
        move |known: &Option<Reference>| {
            known.as_ref().is_some_and(|k| k.mark.cursor == cursor && k.snapshot.lot_count() == lots)
        }
    };
    append(&queue, 0, 3).await;
    settled(&queue).await;
    until(shown, "page 4", at(4, 4)).await;
    {
        let state = &mut *cloud.state.lock().await;
        let backup = state.store.clone();
        restore(&rig, &queue, state, backup).await;
        state.pages.truncate(2);
        state.time = 0;
    }
    until(shown, "the newest page of the restored feed", at(2, 2)).await;
    let stored = queue.page().await.unwrap().expect("a page");
    assert_eq!((stored.mark.cursor, stored.generation), (2, 2), "it is kept");
    assert!(queue.state().borrow().alarms.contains(&QueueAlarm::ServerInconsistent), "and shown");
    cloud.publish(&lots(&["L1", "L2", "H1", "H2", "H3"])).await;
    until(shown, "a page after the restore", at(3, 5)).await;
    until(&mut running.handle.status(), "online", |status| status.engine.link == Link::Online).await;

    cloud.state.lock().await.pages.truncate(1);
    let went_back =
        |status: &SyncStatus| status.engine.failure.is_some_and(|f| f.as_str() == "feed_went_back");
    until(&mut running.handle.status(), "a second time, without a restore", went_back).await;
    append(&queue, 3, 3).await;
    settled(&queue).await;
    let pulled = cloud.state.lock().await.time;
    eventually("more pulls", || async { cloud.state.lock().await.time > pulled + 5 }).await;
    assert!(at(3, 5)(&shown.borrow()), "one restore is no licence for ever");
    running.end().await;
}

#[tokio::test]
async fn a_feed_that_went_on_in_another_way_after_a_restore_is_read_anew_through_a_restart() {
    let (rig, queue, cloud) = set_up();
    for numbers in [&["L1"][..], &["L1", "L2"]] {
        cloud.publish(&lots(numbers)).await;
    }
    let running = Running::start(&queue, &cloud).await;
    append(&queue, 0, 3).await;
    settled(&queue).await;
    let second = |known: &Option<Reference>| known.as_ref().is_some_and(|known| known.mark.cursor == 2);
    until(&mut running.handle.reference(), "page 2", second).await;
    running.end().await;
    {
        let state = &mut *cloud.state.lock().await;
        let backup = state.store.clone();
        restore(&rig, &queue, state, backup).await;
        state.pages.truncate(1);
    }
    for numbers in [&["L1", "H1"][..], &["L1", "H1", "H2"]] {
        cloud.publish(&lots(numbers)).await;
    }
    let running = Running::start(&queue, &cloud).await;
    let newest = |known: &Option<Reference>| known.as_ref().is_some_and(|known| known.mark.cursor == 3);
    until(&mut running.handle.reference(), "page 3 of the other feed", newest).await;
    assert_eq!(running.handle.reference().borrow().as_ref().map(|known| known.snapshot.lot_count()), Some(3));
    running.end().await;
}
