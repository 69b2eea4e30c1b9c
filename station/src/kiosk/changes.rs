//! What each thing that happens changes of what is known: plain values in and out, so that the order in which a person
//! meets them can be tested without a station.

use crate::actor::{JobsShown, Scanned};
use crate::print::Standing;
use crate::screen::{Act, JobNow, Known, Page, Phase, ScanAct, Works};
use lotgate_devices::event::{DeviceInfo, DeviceState, PrinterState};
use lotgate_domain::ids::OperationId;
use lotgate_domain::operation::body::{Body, LabelQueued};
use lotgate_domain::time::Timestamp;
use lotgate_sync::queue::{Appended, QueueState};
use lotgate_sync::runner::SyncStatus;
use std::collections::BTreeSet;

impl Known {
    pub(super) fn works(&mut self) -> Option<&mut Works> {
        match &mut self.phase {
            Phase::Works(works) => Some(works),
            Phase::Starting | Phase::Enrol(_) | Phase::Fault(_) => None,
        }
    }

    /// Something happened that the band says.
    pub(super) fn happens(&mut self, act: Act) {
        self.act = act;
        self.sound += 1;
    }

    /// The station begins to work. What is wrong already is new to whoever looks.
    pub(super) fn begins(&mut self, works: Works) {
        self.alarm_sound += u64::from(!works.alarms().is_empty());
        self.sound += u64::from(works.queue.stopped.is_some());
        self.page = Page::Scan;
        self.phase = Phase::Works(Box::new(works));
    }

    /// How the queue and the way to the cloud stand now.
    pub(super) fn note_queue(&mut self, queue: QueueState, sync: SyncStatus) {
        let Some(works) = self.works() else { return };
        let before: BTreeSet<String> = works.alarms().into_iter().map(str::to_owned).collect();
        let stops = works.queue.stopped.is_none() && queue.stopped.is_some();
        (works.queue, works.sync) = (queue, sync);
        let alarms = works.alarms().iter().any(|alarm| !before.contains(*alarm));
        self.alarm_sound += u64::from(alarms);
        self.sound += u64::from(stops);
    }

    /// A scan is durable; `repeats`: how often it came again since.
    pub(super) fn note_scan(
        &mut self,
        appended: &Appended,
        refusal: Option<&'static str>,
        scanned: &Scanned,
        repeats: u32,
    ) {
        let Some(works) = self.works() else { return };
        let Some(act) = scan_act(works, appended, refusal, scanned) else { return };
        let act = ScanAct { repeats, ..act };
        for device in works.devices.iter_mut().filter(|device| device.id == act.device) {
            device.heard = Some(act.at);
        }
        if scanned.label_of.is_some() {
            self.page = Page::Label;
            self.happens(Act::LabelRead(Box::new(act)));
        } else {
            self.page = Page::Scan;
            self.happens(Act::Scan(Box::new(act)));
        }
    }

    pub(super) fn note_device(&mut self, device: DeviceInfo, state: DeviceState, at: Timestamp) {
        let Some(works) = self.works() else { return };
        for known in works.devices.iter_mut().filter(|known| known.id == device.id) {
            known.state = state;
            known.simulated = device.simulated;
            known.heard = if state == DeviceState::Ready { Some(at) } else { known.heard };
        }
        match state {
            DeviceState::Opening => {}
            DeviceState::Ready => {
                if matches!(&self.act, Act::DeviceAway { id, .. } if *id == device.id) {
                    self.act = Act::None;
                }
            }
            state => self.happens(Act::DeviceAway { id: device.id, code: state.code(), at }),
        }
    }

    pub(super) fn note_printer(&mut self, state: PrinterState) {
        if let Some(printer) = self.works().and_then(|works| works.printer.as_mut()) {
            printer.state = state;
        }
    }

    /// How the print jobs stand. Goes to the label when something about it happened, unless the person looks at
    /// something else that happened: that stays until the next act. Only what needs a person takes its place, and that
    /// does not cover a refusal either.
    pub(super) fn note_jobs(&mut self, shown: JobsShown, preview: String) {
        let Some(works) = self.works() else { return };
        let before = works.job.take();
        let Some(job) = shown.job else { return };
        let now = JobNow {
            words: words(&job.label),
            asked: shown.asked,
            blocked: shown.blocked,
            may_cancel: shown.may_cancel,
            may_copy: shown.may_copy,
            may_doubt: shown.may_doubt,
            behind: shown.behind,
            preview,
            job,
        };
        let (standing, scan) = (now.job.standing, now.job.label.scan);
        let same = before.as_ref().filter(|before| before.job.id == now.job.id);
        let moved = same.is_none_or(|before| before.job.standing != standing);
        let asks = now.asked && same.is_none_or(|before| !before.asked);
        let news = match (&before, same) {
            // What ended in an earlier run was seen then.
            (None, _) => standing.is_open() || shown.owed,
            (Some(_), None) => {
                let printed = matches!(standing, Standing::Confirmed(_) | Standing::ResolvedPrinted(_));
                standing.is_open() || shown.owed || printed && !now.job.is_read()
            }
            (Some(_), Some(before)) => moved || asks || before.blocked != now.blocked,
        };
        works.job = Some(now);
        let of_this_scan =
            |act: &ScanAct| act.id == scan || shown.newest.is_some_and(|(_, scan)| scan == act.id);
        let urgent = asks || shown.owed && moved;
        let (news, stays, refused) = match &self.act {
            // Its label is in line: the person is shown where.
            Act::Scan(act) if of_this_scan(act) => (true, false, false),
            Act::Scan(act) => (news, act.refusal.is_some() || !urgent, act.refusal.is_some()),
            Act::DeviceAway { .. }
            | Act::DeviceFault { .. }
            | Act::NotKept { .. }
            | Act::NoLabel { .. }
            | Act::Gone { .. } => (news, self.page != Page::Label && !urgent, false),
            _ => (news, false, false),
        };
        // The scan of the label said it already.
        if !news || shown.read {
            return;
        }
        if (!stays || urgent && refused) && self.page != Page::Devices {
            self.page = if standing == Standing::Cancelled { Page::Scan } else { Page::Label };
        }
        if !stays {
            self.happens(Act::Job);
        }
    }

    /// The person touched something about the job that is shown.
    pub(super) fn turns_to_job(&mut self) {
        (self.page, self.act) = (Page::Label, Act::Job);
    }

    /// Back: from the devices to where the person was, which is the label if the band speaks of it; from there to
    /// scanning. The job that the person has left.
    pub(super) fn go_back(&mut self) -> Option<OperationId> {
        let job = self.works().and_then(|works| works.job.as_ref()).map(|now| (now.job.id, now.job.standing));
        if self.page != Page::Devices {
            (self.page, self.act) = (Page::Scan, Act::None);
            return job.map(|(id, _)| id);
        }
        let in_work = |standing| matches!(standing, Standing::Waiting | Standing::Sending | Standing::Sent);
        let to_label = job.is_some_and(|(_, standing)| match &self.act {
            Act::Job | Act::LabelRead(_) => standing != Standing::Cancelled,
            Act::Scan(_) => false,
            _ => in_work(standing),
        });
        self.page = if to_label { Page::Label } else { Page::Scan };
        None
    }
}

fn scan_act(
    works: &Works,
    appended: &Appended,
    refusal: Option<&'static str>,
    scanned: &Scanned,
) -> Option<ScanAct> {
    let Scanned { body, snapshot, .. } = scanned;
    let raw = body.raw_hex().and_then(|hex| hex::decode(hex).ok()).unwrap_or_default();
    let common = |device: &str, symbology: &str, kind: &str, aim: Option<&str>| {
        let text =
            String::from_utf8(raw.clone()).unwrap_or_else(|_| raw.iter().copied().map(char::from).collect());
        let text = aim.and_then(|aim| text.strip_prefix(aim)).unwrap_or(&text).to_owned();
        ScanAct {
            refusal,
            id: appended.id,
            seq: appended.seq,
            at: appended.at.wall,
            device: device.to_owned(),
            text,
            symbology: symbology.to_owned(),
            kind: kind.to_owned(),
            elements: Vec::new(),
            item: None,
            lot: None,
            snapshot_lot: None,
            snapshot: *snapshot,
            repeats: 0,
            can_print: false,
        }
    };
    match body {
        Body::ScanAccepted(scan) => {
            let snapshot = works.reference.as_ref().map(|reference| &reference.snapshot);
            let gtin = snapshot.and_then(|snapshot| snapshot.item(&scan.item)?.gtin.as_ref());
            Some(ScanAct {
                elements: scan.elements.clone(),
                item: Some(scan.item.clone()),
                lot: Some(scan.lot.clone()),
                snapshot_lot: Some(scan.snapshot_lot.clone()),
                can_print: works.printer.is_some() && gtin.is_some(),
                ..common(&scan.device.id, &scan.symbology, &scan.kind, scan.aim.as_deref())
            })
        }
        Body::ScanRefused(scan) => Some(ScanAct {
            elements: scan.elements.clone(),
            item: scan.item.clone(),
            lot: scan.lot.clone(),
            snapshot_lot: scan.snapshot_lot.clone(),
            ..common(&scan.device.id, &scan.symbology, &scan.kind, scan.aim.as_deref())
        }),
        _ => None,
    }
}

/// What a label says, for whoever cannot see its picture.
fn words(label: &LabelQueued) -> String {
    let elements = label.elements.iter().map(|element| format!("({}) {}", element.ai, element.value));
    std::iter::once(label.item.clone()).chain(elements).collect::<Vec<_>>().join(", ")
}
