//! A station whose disk loses power, fills up and fails to sync, and what must hold whatever happens.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of the rig")]

use crate::tenant::{NOON, Tenant, TestClock, program, scan};
use lotgate_domain::chain::Head;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Epoch, EpochId, Hash, OperationId, StationId};
use lotgate_domain::operation::{self, Content};
use lotgate_sync::queue::{
    AppendError, Appended, CapacityLimits, Draft, OpenError, Queue, QueueError, QueueOptions, QueueView,
    StopReason,
};
use lotgate_sync::secure::{Secure, SecureError, SystemRandom};
use lotgate_sync::storage::fault::Disk;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of the data directory on the disk.
pub const DATA: &str = "data";

/// Chance, apart from the disk's own.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1))
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a station was told of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Confirmed { seq: u64, hash: Hash },
    Refused,
    Doubtful,
}

/// The bytes that come with every eighth operation: some pages of them.
fn blob(n: u64) -> Option<Vec<u8>> {
    n.is_multiple_of(8).then(|| n.to_be_bytes().repeat(1_500))
}

/// What was found wrong after a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The station cannot go on.
    NotOpened(String),
    /// A confirmed operation is not there, or not as confirmed.
    Lost { n: u64 },
    /// An operation is there twice.
    Doubled { n: u64 },
    /// An operation is there although it was refused for good.
    Resurrected { n: u64 },
    /// Something else does not hold.
    Broken(String),
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub cuts: u64,
    pub kills: u64,
    pub confirmed: u64,
    pub refused: u64,
    pub doubtful: u64,
    pub lost: u64,
    pub doubled: u64,
    pub reopened: u64,
}

/// A range of values that may be found: what was confirmed at least, what was tried at most.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    confirmed: u64,
    tried: u64,
}

impl Bounds {
    fn try_for(&mut self, value: u64) {
        self.tried = self.tried.max(value);
    }

    fn confirm(&mut self, value: u64) {
        self.confirmed = self.confirmed.max(value);
    }

    fn hold(&self, found: u64) -> bool {
        (self.confirmed..=self.tried).contains(&found)
    }
}

/// The station, its disk, and what it was told.
pub struct PowerStation {
    pub disk: Disk,
    pub chance: Chance,
    pub tally: Tally,
    tenant: Tenant,
    station: StationId,
    clock: Arc<TestClock>,
    told: BTreeMap<OperationId, (u64, Told)>,
    next: u64,
    sent: Bounds,
    settled: Bounds,
    page: Bounds,
    /// Faults beside cuts and kills.
    pub faults: bool,
    /// Operations come one at a time, so that a run repeats exactly; groups form as the threads happen to run.
    pub one_at_a_time: bool,
}

impl PowerStation {
    pub fn new(seed: u64) -> Self {
        Self {
            disk: Disk::new(seed),
            chance: Chance::new(seed),
            tally: Tally::default(),
            tenant: Tenant::new(10),
            station: StationId::from_parts(4, &[5; 10]),
            clock: TestClock::at(NOON),
            told: BTreeMap::new(),
            next: 1,
            sent: Bounds::default(),
            settled: Bounds::default(),
            page: Bounds::default(),
            faults: true,
            one_at_a_time: false,
        }
    }

    fn options(&self, secure: Secure) -> QueueOptions {
        let clock = Arc::clone(&self.clock);
        let limits = CapacityLimits { disk_low: 0, disk_very_low: 0, ..CapacityLimits::default() };
        QueueOptions { secure, clock, random: Arc::new(SystemRandom), program: program(), limits }
    }

    /// Enrols, or says why not.
    pub fn create(&self) -> Result<Queue, String> {
        let secure = Secure::prepare(self.disk.places(DATA), &SystemRandom).map_err(|error| words(&error))?;
        let identity = self.tenant.identity(self.station, &secure);
        Queue::create(self.options(secure), &identity).map_err(|error| words(&error))
    }

    pub fn secure(&self) -> Result<Secure, SecureError> {
        Secure::open(self.disk.places(DATA))
    }

    pub fn open(&self) -> Result<Queue, OpenError> {
        Queue::open(self.options(self.secure().unwrap()))
    }

    pub fn view(&self) -> QueueView {
        QueueView::open(&Secure::view(self.disk.places(DATA)).unwrap()).unwrap()
    }

    /// A scan with an id of its own, which tells it again afterwards.
    pub fn draft(&mut self) -> (OperationId, Draft) {
        let n = self.next;
        self.next += 1;
        let mut draft = scan(n);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&n.to_be_bytes());
        let id = OperationId::from_parts(5, &random);
        draft.id = Some(id);
        draft.blobs = blob(n).into_iter().collect();
        self.told.insert(id, (n, Told::Doubtful));
        (id, draft)
    }

    fn note(&mut self, id: OperationId, answer: &Result<Appended, AppendError>) {
        let told = match answer {
            Ok(appended) => {
                self.tally.confirmed += 1;
                Told::Confirmed { seq: appended.seq, hash: appended.hash }
            }
            Err(AppendError::Stopped(StopReason::UnknownOutcome) | AppendError::Closed) => {
                self.tally.doubtful += 1;
                Told::Doubtful
            }
            Err(_) => {
                self.tally.refused += 1;
                Told::Refused
            }
        };
        self.told.get_mut(&id).unwrap().1 = told;
    }

    /// Appends `count` operations that wait at the same moment.
    pub async fn append(&mut self, queue: &Queue, count: u64) -> Vec<Result<Appended, AppendError>> {
        let mut waiting = Vec::new();
        let mut answers = Vec::new();
        for _ in 0..count {
            let (id, draft) = self.draft();
            let submitted = queue.submit(draft);
            if self.one_at_a_time {
                let answer = submitted.await;
                self.note(id, &answer);
                answers.push(answer);
            } else {
                waiting.push((id, submitted));
            }
        }
        for (id, submitted) in waiting {
            let answer = submitted.await;
            self.note(id, &answer);
            answers.push(answer);
        }
        answers
    }

    async fn settle(&mut self, queue: &Queue, sent_only: bool) {
        let head = queue.state().borrow().head;
        let Some(epoch) = head.epoch else { return };
        let seq = 1 + self.chance.below(head.seq);
        if sent_only {
            self.sent.try_for(seq);
            if queue.mark_sent(epoch, seq).await.is_ok() {
                self.sent.confirm(seq);
            }
            return;
        }
        // Only what is in the queue is ever settled, and the head is.
        self.settled.try_for(head.seq);
        self.sent.try_for(head.seq);
        let wall = lotgate_sync::clock::Clock::read(&*self.clock).wall;
        let Some(settlement) = self.tenant.try_settlement(queue, head, Vec::new(), wall).await else {
            return;
        };
        if queue.settle(settlement).await.is_ok() {
            self.settled.confirm(head.seq);
            self.sent.confirm(head.seq);
        }
    }

    async fn keep_page(&mut self, queue: &Queue) {
        let cursor = self.page.tried + 1;
        self.page.try_for(cursor);
        let page =
            vec![u8::try_from(cursor % 251).unwrap(); usize::try_from(self.chance.below(60_000)).unwrap()];
        let time = NOON + i64::try_from(cursor).unwrap() * 1_000;
        let point = self.tenant.feed_point(cursor, Hash::of(&page), time);
        if queue.keep_page(point, Some(page)).await.is_ok() {
            self.page.confirm(cursor);
        }
    }

    /// One thing that a station does. `None`: the queue was closed or its program killed.
    async fn step(&mut self, queue: Queue) -> Option<Queue> {
        // The writer may still be folding in its log; it answers this, which is nonsense, after that.
        let _ = queue.mark_sent(Epoch { n: 0, id: EpochId([0; 16]) }, 0).await;
        self.clock.advance(i64::try_from(self.chance.below(5_000)).unwrap());
        match self.chance.below(100) {
            0..45 => drop(self.append(&queue, 1).await),
            45..70 => {
                let count = 2 + self.chance.below(12);
                self.append(&queue, count).await;
            }
            70 => drop(self.append(&queue, 100).await),
            71..80 => self.settle(&queue, true).await,
            80..88 => self.settle(&queue, false).await,
            88..92 => self.keep_page(&queue).await,
            92..95 => {
                let start = Head { epoch: None, seq: 0, hash: queue.identity().certificate.hash };
                let _ = queue.batch(start, 20, 1 << 16).await;
            }
            95..97 => {
                let _ = queue.close().await;
                return None;
            }
            97 => self.disk.kill_at(1 + self.chance.below(40)),
            _ if self.faults => self.fault(),
            _ => {}
        }
        Some(queue)
    }

    fn fault(&mut self) {
        match self.chance.below(4) {
            0 => self.disk.limit_space(Some(self.disk.used() + self.chance.below(100_000))),
            1 => self.disk.fill_at(1 + self.chance.below(30)),
            2 => self.disk.limit_space(None),
            _ => self.disk.fail_syncs_at(1 + self.chance.below(6), 1 + self.chance.below(3)),
        }
    }

    /// Works until the power goes, at a change that chance picks.
    pub async fn work_until_the_power_goes(&mut self, within: u64) -> Result<(), Wrong> {
        let at = 1 + self.chance.below(within);
        self.disk.cut_power_at(at);
        let mut queue = None;
        let mut life = self.disk.life();
        while !self.disk.is_off() {
            if life != self.disk.life() {
                // Killed, and the power with it at a later change of the next life.
                life = self.disk.life();
                self.tally.kills += 1;
                self.disk.cut_power_at(1 + self.chance.below(within));
                queue = None;
            }
            queue = match queue.take() {
                Some(queue) => self.step(queue).await,
                None => match self.open_again() {
                    Ok(queue) => {
                        self.tally.reopened += 1;
                        Some(queue)
                    }
                    Err(_) if self.disk.is_off() || life != self.disk.life() => None,
                    // A full disk may keep the station from starting, a failed sync too; nothing else may.
                    Err(error) if self.faults && is_of_the_device(&error) => {
                        self.disk.limit_space(None);
                        None
                    }
                    Err(error) => return Err(Wrong::NotOpened(words(&error))),
                },
            };
            if let Some(queue) = &queue
                && queue.state().borrow().stopped == Some(StopReason::Damaged)
            {
                return Err(Wrong::Broken("the queue calls itself damaged".to_owned()));
            }
        }
        Ok(())
    }

    fn open_again(&self) -> Result<Queue, OpenError> {
        match self.secure() {
            Ok(secure) => Queue::open(self.options(secure)),
            Err(SecureError::Io { source, .. }) => Err(OpenError::Io(source)),
            Err(error) => Err(OpenError::Io(std::io::Error::other(format!("secure directory: {error}")))),
        }
    }

    /// Turns the power on, opens the queue, and compares it with what the station was told.
    pub async fn check_after_the_cut(&mut self) -> Result<(), Wrong> {
        self.disk.limit_space(None);
        self.disk.fail_syncs_at(1, 0);
        self.disk.power_on();
        self.tally.cuts += 1;
        let queue = self.open_again().map_err(|error| Wrong::NotOpened(words(&error)))?;
        let found = self.found(&queue).await?;
        self.check_blobs(&queue, &found).await?;
        let mut wrong = None;
        for (id, (n, told)) in &mut self.told {
            let there = found.get(id);
            match (*told, there) {
                (Told::Confirmed { seq, hash }, Some(at)) if *at == (seq, hash) => {}
                (Told::Confirmed { .. }, _) => {
                    self.tally.lost += 1;
                    wrong = Some(Wrong::Lost { n: *n });
                }
                (Told::Refused, Some(_)) => wrong = Some(Wrong::Resurrected { n: *n }),
                // What is found decides: from now on it is in the queue, or it never will be.
                (Told::Doubtful, Some((seq, hash))) => *told = Told::Confirmed { seq: *seq, hash: *hash },
                (Told::Doubtful, None) => *told = Told::Refused,
                (Told::Refused, None) => {}
            }
        }
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        self.check_state(&queue)?;
        queue.close().await.map_err(|error| Wrong::Broken(words(&error)))?;
        Ok(())
    }

    /// Checks every byte of the queue.
    pub fn verify(&self) -> Result<(), Wrong> {
        let verification = self.view().verify(|_| {}).map_err(|error| Wrong::Broken(words(&error)))?;
        if verification.ok() { Ok(()) } else { Err(Wrong::Broken(format!("{verification:?}"))) }
    }

    /// What came with an operation is there exactly if the operation is.
    async fn check_blobs(
        &self,
        queue: &Queue,
        found: &BTreeMap<OperationId, (u64, Hash)>,
    ) -> Result<(), Wrong> {
        for (id, (n, _)) in &self.told {
            let Some(blob) = blob(*n) else { continue };
            let kept = queue.blob(Hash::of(&blob)).await.map_err(|error| Wrong::Broken(words(&error)))?;
            if kept.is_some() != found.contains_key(id) || kept.is_some_and(|kept| kept != blob) {
                return Err(Wrong::Broken(format!("the blob of operation {n} is not as the operation is")));
            }
        }
        Ok(())
    }

    fn check_state(&mut self, queue: &Queue) -> Result<(), Wrong> {
        let state = queue.state().borrow().clone();
        if state.head.epoch.is_none_or(|epoch| epoch.n != 1) {
            return Err(Wrong::Broken("the station believes that its queue was lost or put back".to_owned()));
        }
        let sent = state.sent_through.map_or(0, |point| point.seq);
        let settled = state.settled_through.map_or(0, |point| point.seq);
        let page = state.page.map_or(0, |page| page.cursor);
        for (name, bounds, found) in
            [("sent", &self.sent, sent), ("settled", &self.settled, settled), ("page", &self.page, page)]
        {
            if !bounds.hold(found) {
                return Err(Wrong::Broken(format!("{name}: {found} is not within {bounds:?}")));
            }
        }
        (self.sent.confirmed, self.settled.confirmed, self.page.confirmed) = (sent, settled, page);
        (self.sent.tried, self.settled.tried, self.page.tried) = (sent, settled, page);
        Ok(())
    }

    /// Every entry of the queue, by the id in its bytes; the queue checks chain and signatures on the way.
    async fn found(&mut self, queue: &Queue) -> Result<BTreeMap<OperationId, (u64, Hash)>, Wrong> {
        let mut found = BTreeMap::new();
        let mut after = Head { epoch: None, seq: 0, hash: queue.identity().certificate.hash };
        let broken = |error: QueueError| Wrong::Broken(words(&error));
        while let Some(batch) = queue.batch(after, 1_000, 1 << 20).await.map_err(broken)? {
            let mut rest = batch.entries.as_slice();
            let mut seq = batch.after.seq;
            while let Ok((frame, others)) = Frame::split_first(rest) {
                (rest, seq) = (others, seq + 1);
                let read = operation::read(&frame).map_err(|_| Wrong::Broken(format!("entry {seq}")))?;
                let Content::Known(operation) = read.content else {
                    return Err(Wrong::Broken(format!("entry {seq} is unknown")));
                };
                let again = found.insert(operation.id, (seq, frame.hash()));
                if again.is_some() {
                    self.tally.doubled += 1;
                    let n = self.told.get(&operation.id).map_or(0, |(n, _)| *n);
                    return Err(Wrong::Doubled { n });
                }
            }
            after = head(batch.epoch, &batch.last);
        }
        Ok(found)
    }
}

fn head(epoch: Epoch, last: &lotgate_domain::statement::Through) -> Head {
    Head { epoch: Some(epoch), seq: last.seq, hash: last.hash }
}

/// An error that comes from the device alone, not from what lies on it.
fn is_of_the_device(error: &OpenError) -> bool {
    match error {
        OpenError::Io(_) | OpenError::Anchor(_) => true,
        OpenError::Storage(error) => error.stop_reason() != StopReason::Damaged,
        _ => false,
    }
}

/// An error with its causes.
pub fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Seed of the first station; the next ones count on.
    pub seed: u64,
    /// How many power cuts.
    pub cuts: u64,
    /// How many of them one station stands.
    pub per_station: u64,
    /// What the database is told instead of `synchronous = FULL`.
    pub turned_down: Option<&'static str>,
}

/// Where a run ended.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub wrong: Wrong,
    pub tally: Tally,
}

/// Stations, one after the other; the first thing that is wrong ends it. `progress` is told after each station.
pub async fn run(plan: Plan, mut progress: impl FnMut(&Tally)) -> Result<Tally, Failure> {
    let mut total = Tally::default();
    let mut seed = plan.seed;
    while total.cuts < plan.cuts {
        let mut station = PowerStation::new(seed);
        station.faults = seed.is_multiple_of(2);
        if let Some(mode) = plan.turned_down {
            station.disk.turn_down_synchronous(mode);
        }
        let done = station.live(plan.per_station.min(plan.cuts - total.cuts)).await;
        total.add(&station.tally);
        if let Err(wrong) = done {
            return Err(Failure { seed, wrong, tally: total });
        }
        progress(&total);
        seed += 1;
    }
    Ok(total)
}

impl PowerStation {
    /// Enrols and stands `cuts` power cuts.
    async fn live(&mut self, cuts: u64) -> Result<(), Wrong> {
        let queue = self.create().map_err(Wrong::NotOpened)?;
        queue.close().await.map_err(|error| Wrong::NotOpened(words(&error)))?;
        for _ in 0..cuts {
            self.work_until_the_power_goes(300).await?;
            self.check_after_the_cut().await?;
        }
        self.verify()
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.confirmed += other.confirmed;
        self.refused += other.refused;
        self.doubtful += other.doubtful;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reopened += other.reopened;
    }
}
