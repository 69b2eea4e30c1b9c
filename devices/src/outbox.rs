//! Events on their way to the consumer: kept in order, counted, never dropped while the reader runs.

use std::collections::VecDeque;
use std::time::Instant;

use crate::event::{Delivery, DeviceEvent, DeviceEventKind, DeviceFault, DeviceInfo, EventSink};

pub(crate) struct Outbox<S> {
    sink: S,
    limit: usize,
    waiting: VecDeque<DeviceEvent>,
    overrun: bool,
    overruns: u64,
    closed: bool,
}

impl<S: EventSink> Outbox<S> {
    pub(crate) fn new(sink: S, limit: usize) -> Self {
        Self { sink, limit, waiting: VecDeque::new(), overrun: false, overruns: 0, closed: false }
    }

    /// Takes an event and hands over what the consumer has room for.
    pub(crate) fn put(&mut self, device: &DeviceInfo, kind: DeviceEventKind) {
        self.waiting.push_back(DeviceEvent { device: device.clone(), at_mono: Instant::now(), kind });
        self.hand_over();
        if self.is_full() && !self.overrun {
            self.overrun = true;
            self.overruns = self.overruns.saturating_add(1);
            let fault = DeviceFault::Overrun { waiting: self.waiting.len() };
            tracing::warn!(
                device.id = device.id,
                code = fault.code(),
                waiting = self.waiting.len(),
                "device fault"
            );
            self.waiting.push_back(DeviceEvent {
                device: device.clone(),
                at_mono: Instant::now(),
                kind: DeviceEventKind::Fault(fault),
            });
        }
    }

    /// Hands over what the consumer has room for.
    pub(crate) fn hand_over(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.sink.offer(event) {
                Delivery::Taken => {}
                Delivery::Full(event) => {
                    self.waiting.push_front(*event);
                    return;
                }
                Delivery::Closed => {
                    self.closed = true;
                    return;
                }
            }
        }
        self.overrun = false;
    }

    /// Reading has to pause.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.limit
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn overruns(&self) -> u64 {
        self.overruns
    }
}
