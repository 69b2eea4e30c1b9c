//! Chain and counts hold under any order of appending, settling, closing and sudden ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "queue/rig.rs"]
mod queue_rig;

use lotgate_domain::chain::Head;
use lotgate_domain::ids::Epoch;
use lotgate_sync::queue::{Appended, Queue};
use proptest::prelude::*;
use queue_rig::{Rig, scan};

#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    MarkSent(prop::sample::Index),
    Settle(prop::sample::Index),
    Reopen,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20_u64).prop_map(Step::Append),
        1 => any::<prop::sample::Index>().prop_map(Step::MarkSent),
        2 => any::<prop::sample::Index>().prop_map(Step::Settle),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

struct World {
    rig: Rig,
    queue: Queue,
    heads: Vec<Head>,
    sent: u64,
    settled: u64,
}

impl World {
    async fn apply(mut self, step: Step) -> Self {
        match step {
            Step::Append(count) => {
                let waiting: Vec<_> = (0..count).map(|n| self.queue.submit(scan(n))).collect();
                for one in waiting {
                    let Appended { epoch, seq, hash, .. } = one.await.unwrap();
                    self.heads.push(Head { epoch: Some(epoch), seq, hash });
                }
            }
            Step::MarkSent(index) => {
                let point = *index.get(&self.heads);
                self.queue.mark_sent(epoch(&point), point.seq).await.unwrap();
                self.sent = self.sent.max(point.seq);
            }
            Step::Settle(index) => {
                let point = *index.get(&self.heads);
                let settled = self.queue.settle(self.rig.settlement(&self.queue, point).await).await.unwrap();
                assert_eq!(
                    settled.newly,
                    point.seq.saturating_sub(self.settled),
                    "what was not settled before"
                );
                self.settled = self.settled.max(point.seq);
                self.sent = self.sent.max(point.seq);
            }
            Step::Reopen => {
                self.queue.close().await.unwrap();
                self.queue = self.rig.open();
            }
            Step::Crash => {
                let copy = self.rig.copy();
                self.queue.close().await.unwrap();
                self.queue = copy.open();
                self.rig = copy;
            }
        }
        self
    }

    fn check(&self) {
        let state = self.queue.state().borrow().clone();
        let length = u64::try_from(self.heads.len()).unwrap();
        assert_eq!(Some(&state.head), self.heads.last(), "head");
        assert_eq!(state.queued, length - self.settled, "queued");
        assert_eq!(state.settled_through.map_or(0, |point| point.seq), self.settled, "settled");
        assert_eq!(state.sent_through.map_or(0, |point| point.seq), self.sent, "sent");
        assert_eq!(state.oldest_wall.is_some(), state.queued > 0, "oldest");
    }

    async fn read_all(&self, limit: u64) -> u64 {
        let mut after = Head::genesis(self.queue.identity().certificate.hash);
        let mut count = 0;
        while let Some(batch) = self.queue.batch(after, limit, 1 << 20).await.unwrap() {
            count += batch.count;
            after = Head { epoch: Some(batch.epoch), seq: batch.last.seq, hash: batch.last.hash };
            assert_eq!(after, self.heads[usize::try_from(count).unwrap() - 1], "batches meet the chain");
        }
        count
    }
}

fn epoch(point: &Head) -> Epoch {
    point.epoch.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_keeps_chain_and_counts(steps in prop::collection::vec(step(), 1..16), limit in 1..40_u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new();
            let queue = rig.create();
            let first = queue.state().borrow().head;
            let mut world = World { rig, queue, heads: vec![first], sent: 0, settled: 0 };
            for step in steps {
                world = world.apply(step).await;
                world.check();
            }
            let length = u64::try_from(world.heads.len()).unwrap();
            assert_eq!(world.read_all(limit).await, length, "everything is handed out, whatever was settled");
            let verification = world.rig.view().verify(|_| {}).unwrap();
            assert!(verification.ok(), "{verification:?}");
            assert_eq!((verification.entries, verification.settled), (length, world.settled), "verify counts the same");
        });
    }
}
