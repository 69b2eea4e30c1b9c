//! How the program ends, and what it asks of whoever started it.

use std::process::ExitCode;

/// Exit codes (DESIGN §8). The kiosk session acts on them. 71 (start the machine again) and 72 (turn it off) are kept
/// for it: no screen offers either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// A signal asked for it, and the station closed its queue.
    Done = 0,
    /// Start me again: the page's process died, the station ended by itself or did not end in time, there is no window,
    /// or the main thread panicked.
    RestartProgram = 70,
    /// There is no WebView2 on this machine.
    NoWebView = 16,
}

/// Why the window closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A signal asked for it.
    Asked,
    /// The page's process died, or the page is gone.
    PageLost,
    /// The station tells no more screens.
    StationEnded,
}

impl Exit {
    /// The exit code, given why the window closes and whether the station `closed` its queue in time.
    pub(crate) fn of(ending: Ending, closed: bool) -> Self {
        match (ending, closed) {
            (Ending::Asked, true) => Self::Done,
            _ => Self::RestartProgram,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// From now on a panic of the thread that calls this, the one that draws the window, ends the whole program with
/// [`Exit::RestartProgram`]: nobody stands at a kiosk to end a window that hangs. What was accepted is durable. Panics
/// of other threads are logged.
pub(crate) fn on_panic() {
    let window = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic.payload_as_str().unwrap_or_default();
        tracing::error!(place, words, "window.panic");
        if std::thread::current().id() == window {
            std::process::exit(Exit::RestartProgram as i32);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::{Ending, Exit, on_panic};
    use std::process::Command;

    #[test]
    fn only_a_stop_that_was_asked_for_and_went_well_ends_with_0() {
        for ending in [Ending::Asked, Ending::PageLost, Ending::StationEnded] {
            for closed in [true, false] {
                let expected = if (ending, closed) == (Ending::Asked, true) { 0 } else { 70 };
                assert_eq!(Exit::of(ending, closed) as u8, expected, "{ending:?} {closed}");
            }
        }
    }

    #[test]
    #[ignore = "ends its process; the test below starts it"]
    fn the_windows_thread_panics() {
        on_panic();
        assert!(
            std::thread::spawn(|| panic!("some other thread")).join().is_err(),
            "and the program goes on"
        );
        panic!("the thread that draws the window");
    }

    #[test]
    fn a_panic_of_the_windows_thread_ends_the_program_with_70() {
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "exit::tests::the_windows_thread_panics", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(i32::from(Exit::RestartProgram as u8)), "{ended:?}");
    }
}
