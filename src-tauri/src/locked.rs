//! What the platform's web view would still offer a passer-by, and is taken away (SES-4): its menu and its dialogs, its
//! browser keys, its two fingers. And the one thing that it must tell: that its process died.

use crate::exit::Ending;
use tauri::webview::PlatformWebview;
use tokio::sync::mpsc::UnboundedSender;

/// Why the web view could not be locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// WebKitGTK gave no settings.
    #[cfg(target_os = "linux")]
    #[error("the web view has no settings")]
    NoSettings,
    /// WebView2 refused.
    #[cfg(windows)]
    #[error("WebView2 refused a setting")]
    WebView2(#[from] windows_core::Error),
}

/// Locks `webview`; `ending` is told when its process dies.
#[cfg(target_os = "linux")]
pub(crate) fn lock(webview: &PlatformWebview, ending: UnboundedSender<Ending>) -> Result<(), LockError> {
    use webkit2gtk::{
        ColorChooserRequestExt as _, FileChooserRequestExt as _, SettingsExt as _, WebViewExt as _,
    };

    let view = webview.inner();
    // `true`: dealt with, nothing opens.
    view.connect_context_menu(|_, _, _, _| true);
    view.connect_print(|_, _| true);
    view.connect_script_dialog(|_, _| true);
    view.connect_show_notification(|_, _| true);
    view.connect_run_file_chooser(|_, request| {
        request.cancel();
        true
    });
    view.connect_run_color_chooser(|_, request| {
        request.cancel();
        true
    });
    view.connect_enter_fullscreen(|_| true);
    view.connect_zoom_level_notify(|view| {
        if view.zoom_level() != 1.0 {
            view.set_zoom_level(1.0);
        }
    });
    if !close_pinch(&view) {
        // A page that two fingers can enlarge is better than a station that does not start.
        tracing::error!("window.pinch_not_closed");
    }
    let settings = view.settings().ok_or(LockError::NoSettings)?;
    settings.set_enable_developer_extras(false);
    settings.set_enable_back_forward_navigation_gestures(false);
    settings.set_enable_caret_browsing(false);
    settings.set_enable_webgl(false);
    settings.set_enable_webrtc(false);
    settings.set_enable_media_stream(false);
    settings.set_enable_html5_database(false);
    settings.set_enable_html5_local_storage(false);
    settings.set_javascript_can_access_clipboard(false);
    settings.set_javascript_can_open_windows_automatically(false);
    view.connect_close({
        let ending = ending.clone();
        move |_| page_lost(&ending, "closed")
    });
    view.connect_web_process_terminated(move |_, reason| page_lost(&ending, &format!("{reason:?}")));
    Ok(())
}

/// WebKitGTK's gesture of two fingers. It enlarges the page, not its zoom level, and asks neither the page nor a signal.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "GObject does not know the type of what is kept under a name")]
fn pinch(view: &webkit2gtk::WebView) -> Option<gtk::GestureZoom> {
    use gtk::glib::object::ObjectExt as _;
    use gtk::glib::translate::from_glib_none;

    // SAFETY: WebKitGTK keeps a GtkGestureZoom under this name for as long as the view lives, and the view is borrowed;
    // what is handed out holds a reference of its own.
    unsafe {
        let gesture = view.data::<gtk::ffi::GtkGestureZoom>("wk-view-zoom-gesture")?;
        Some(from_glib_none(gesture.as_ptr()))
    }
}

/// Takes that gesture from the view. Says whether there was one.
#[cfg(target_os = "linux")]
fn close_pinch(view: &webkit2gtk::WebView) -> bool {
    use gtk::prelude::EventControllerExt as _;

    let gesture = pinch(view);
    gesture.iter().for_each(|gesture| gesture.set_propagation_phase(gtk::PropagationPhase::None));
    gesture.is_some()
}

/// Locks `webview`; `ending` is told when its process dies.
#[cfg(windows)]
#[allow(unsafe_code, reason = "WebView2 is reached over COM")]
pub(crate) fn lock(webview: &PlatformWebview, ending: UnboundedSender<Ending>) -> Result<(), LockError> {
    use webview2_com::Microsoft::Web::WebView2::Win32::ICoreWebView2Settings3;
    use webview2_com::ProcessFailedEventHandler;
    use windows_core::Interface as _;

    let failed = ProcessFailedEventHandler::create(Box::new(move |_, _| {
        page_lost(&ending, "failed");
        Ok(())
    }));
    let mut token = 0;
    // SAFETY: called on the thread that made the controller, on interfaces that it handed out and that live until the
    // end of the block.
    unsafe {
        let core = webview.controller().CoreWebView2()?;
        let settings = core.Settings()?;
        settings.SetAreDefaultContextMenusEnabled(false)?;
        settings.SetAreDefaultScriptDialogsEnabled(false)?;
        settings.SetAreDevToolsEnabled(false)?;
        settings.SetIsStatusBarEnabled(false)?;
        settings.SetIsZoomControlEnabled(false)?;
        settings.cast::<ICoreWebView2Settings3>()?.SetAreBrowserAcceleratorKeysEnabled(false)?;
        core.add_ProcessFailed(&failed, &mut token)?;
    }
    Ok(())
}

fn page_lost(ending: &UnboundedSender<Ending>, reason: &str) {
    tracing::error!(reason, "window.page_lost");
    // Nobody listens any more while the program ends.
    let _ = ending.send(Ending::PageLost);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{close_pinch, pinch};
    use gtk::prelude::EventControllerExt as _;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    #[ignore = "needs a display; the test below starts one"]
    fn a_view_hears_of_no_pinch_on_a_display() {
        gtk::init().unwrap();
        let view = webkit2gtk::WebView::new();
        let phase = || pinch(&view).unwrap().propagation_phase();
        assert_ne!(phase(), gtk::PropagationPhase::None, "WebKitGTK has closed it by itself");
        assert!(close_pinch(&view));
        assert_eq!(phase(), gtk::PropagationPhase::None);
        // WebKitGTK is not made to be taken down on a thread of tests.
        std::mem::forget(view);
    }

    #[test]
    fn two_fingers_do_not_enlarge_the_page() {
        let mut display = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb: tests/setup.sh installs it");
        let mut number = String::new();
        BufReader::new(display.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let ended = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "locked::tests::a_view_hears_of_no_pinch_on_a_display",
                "--ignored",
                "--nocapture",
            ])
            .env("DISPLAY", format!(":{}", number.trim()))
            .env("GDK_BACKEND", "x11")
            .output();
        display.kill().unwrap();
        display.wait().unwrap();
        let ended = ended.unwrap();
        assert!(ended.status.success(), "{ended:?}");
    }
}
