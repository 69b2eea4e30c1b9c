//! The one window and its page: the whole screen, and no way out of it (SES-4).

use crate::arguments::Size;
use crate::exit::Ending;
use crate::locked::{self, LockError};
use tauri::webview::{Color, NewWindowResponse, PermissionResponse};
use tauri::{AppHandle, Url, WebviewUrl, WebviewWindow, WebviewWindowBuilder, Wry};
use tokio::sync::mpsc::UnboundedSender;

/// Its name; `capabilities/main.json` speaks of it.
pub(crate) const LABEL: &str = "main";

/// What is seen before the page is: the frame's grey of the design (`--frame`).
const FRAME: Color = Color(0xCD, 0xD2, 0xD6, 0xFF);

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WindowError {
    /// The platform made none.
    #[error("the window was not made")]
    Tauri(#[from] tauri::Error),
    /// It was made, and cannot be locked.
    #[error("the window cannot be locked")]
    Lock(#[from] LockError),
}

/// Opens the window; `ending` is told when its page is lost. `size` is that of development; without it the window takes
/// the whole screen and stays on top.
pub(crate) fn open(
    app: &AppHandle,
    size: Option<Size>,
    ending: UnboundedSender<Ending>,
) -> Result<(), WindowError> {
    let window = WebviewWindowBuilder::new(app, LABEL, WebviewUrl::default())
        .title("Lotgate")
        .background_color(FRAME)
        .decorations(false)
        .resizable(false)
        .maximizable(false)
        .minimizable(false)
        .closable(false)
        .focused(true)
        .on_navigation(is_own)
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .on_download(|_, _| false)
        .on_permission_request(|_, _| PermissionResponse::Deny)
        .disable_drag_drop_handler()
        .general_autofill_enabled(false)
        .zoom_hotkeys_enabled(false)
        .browser_extensions_enabled(false)
        .devtools(false);
    let window = match size {
        // WebKitGTK hands an incognito page to no WebDriver, so only a window of development can be driven.
        Some(Size { width, height }) => window.inner_size(width.into(), height.into()),
        None => over_the_whole_screen(app, window)?.incognito(true),
    };
    lock(&window.build()?, ending)
}

fn over_the_whole_screen<'a>(
    app: &AppHandle,
    window: WebviewWindowBuilder<'a, Wry, AppHandle>,
) -> tauri::Result<WebviewWindowBuilder<'a, Wry, AppHandle>> {
    let window = window.fullscreen(true).always_on_top(true);
    // A display without a window manager does nothing on the word "fullscreen"; Wayland knows no first monitor.
    let monitor = match app.primary_monitor()? {
        None => app.available_monitors()?.into_iter().next(),
        primary => primary,
    };
    Ok(match monitor {
        Some(monitor) => {
            let size = monitor.size().to_logical::<f64>(monitor.scale_factor());
            window.position(0.0, 0.0).inner_size(size.width, size.height)
        }
        None => window,
    })
}

fn lock(window: &WebviewWindow, ending: UnboundedSender<Ending>) -> Result<(), WindowError> {
    let (locked, result) = std::sync::mpsc::channel();
    window.with_webview(move |webview| {
        let _ = locked.send(locked::lock(&webview, ending));
    })?;
    // On the main thread it has run by now; elsewhere it runs soon.
    result.recv().map_err(|_| tauri::Error::WebviewNotFound)??;
    Ok(())
}

/// The page's own origin, the only one that may ever be shown. On Windows there is no scheme of one's own.
fn is_own(url: &Url) -> bool {
    let origin = (url.scheme(), url.host_str(), url.port());
    if cfg!(windows) {
        matches!(origin, ("http" | "https", Some("tauri.localhost"), None))
    } else {
        origin == ("tauri", Some("localhost"), None)
    }
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn the_page_can_go_nowhere_but_to_itself() {
        let own = |url: &str| is_own(&url.parse().unwrap());
        let home = if cfg!(windows) { "http://tauri.localhost" } else { "tauri://localhost" };
        assert!(own(home) && own(&format!("{home}/index.html?a#b")));
        for elsewhere in [
            "https://example.com/",
            "http://localhost/",
            "http://tauri.localhost.example.com/",
            "http://tauri.example.com/",
            "http://tauri.localhost:8080/",
            "tauri://localhost.example.com/",
            "tauri://example.com/",
            "tauri://user@localhost:1/",
            "file:///etc/passwd",
            "data:text/html,x",
            "about:blank",
            "javascript:alert(1)",
            "blob:tauri://localhost/x",
            "ipc://localhost/screen",
            "asset://localhost/etc/passwd",
        ] {
            assert!(!own(elsewhere), "{elsewhere}");
        }
    }
}
