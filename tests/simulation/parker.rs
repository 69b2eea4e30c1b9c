//! Waiting for one future at a time, on this thread: what the queue's threads answer is awaited at once, so that
//! nothing but the world decides what happens next.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// A thread that sleeps until somebody wakes it.
#[derive(Clone)]
pub(crate) struct Parker(Arc<Woken>);

struct Woken {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Woken { thread: thread::current(), woken: AtomicBool::new(false) }))
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    pub(crate) fn park(&self) {
        while !self.0.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

/// The value of a future that only the queue keeps waiting.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let parker = Parker::new();
    let waker = parker.waker();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => parker.park(),
        }
    }
}
