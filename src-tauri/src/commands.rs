//! Everything that the page can reach. `build.rs` and `capabilities/main.json` name the same commands.

use lotgate_station::kiosk::KioskHandle;
use lotgate_station::screen::{Request, Screen};
use tauri::State;

/// The screen as it is now; each newer one comes as the event `screen`.
#[tauri::command]
pub(crate) fn screen(kiosk: State<'_, KioskHandle>) -> Screen {
    kiosk.screen().borrow().as_ref().clone()
}

/// What a person touched.
#[tauri::command]
pub(crate) fn request(kiosk: State<'_, KioskHandle>, request: Request) {
    kiosk.request(request);
}

/// The screen with this revision is on the glass.
#[tauri::command]
pub(crate) fn painted(kiosk: State<'_, KioskHandle>, revision: u64) {
    kiosk.painted(revision);
}
