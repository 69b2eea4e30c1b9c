//! `lotgate-kiosk`: the window around one station (DESIGN §3). Nothing here decides anything.
//!
//! The flow: [`arguments`] say where the station works; it starts on a runtime of its own; [`window`] opens the one
//! window, which [`locked`] closes off; each screen of the station goes to the page as the event `screen`, and the
//! page asks by [`commands`] alone. A signal, a page that died or a station that ended closes the station first, and
//! then the program, with the code of [`exit`].
//!
//! # Invariants
//! - The page reaches the three commands and the event, nothing else; its policy is strict
//!   (`tests/tests/window_rules.rs`).
//! - The page shows no origin but its own (`window::tests`).
//! - Whatever ends the program but a stop that went well asks for a new start (`exit::tests`).
#![cfg_attr(all(windows, not(debug_assertions)), windows_subsystem = "windows")]

mod arguments;
mod commands;
mod exit;
mod locked;
mod window;

use arguments::Arguments;
use clap::Parser as _;
use exit::{Ending, Exit};
use lotgate_station::config::{Config, Flags, Sources};
use lotgate_station::kiosk::{Kiosk, KioskHandle};
use std::process::ExitCode;
use std::time::Duration;
use tauri::{AppHandle, Emitter as _, RunEvent, WindowEvent, Wry};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing_subscriber::EnvFilter;

/// How long the station may take to close its queue.
const CLOSING: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr(arguments.flags());
    exit::on_panic();
    let ended = match tauri::webview_version() {
        Ok(_) => run(&arguments),
        Err(error) => {
            tracing::error!(error = error.to_string(), "window.no_web_view");
            Ok(Exit::NoWebView)
        }
    };
    ended
        .unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), "window.not_started");
            Exit::RestartProgram
        })
        .into()
}

/// JSON lines, as `lotgate agent` writes them. What is wrong with the configuration, the station shows.
fn log_to_stderr(flags: Flags) {
    let configured = Config::load(&Sources::of_this_machine(flags)).ok();
    let filter = configured.and_then(|config| EnvFilter::try_new(config.log_filter).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// The window's whole life.
fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let runtime = Runtime::new()?;
    tauri::async_runtime::set(runtime.handle().clone());
    let kiosk = {
        let _inside = runtime.enter();
        Kiosk::start(arguments.station())
    };
    let (ending, endings) = unbounded_channel();
    let app = tauri::Builder::default()
        .manage(kiosk.clone())
        .invoke_handler(tauri::generate_handler![commands::screen, commands::request, commands::painted])
        .build(tauri::generate_context!())?;
    window::open(app.handle(), arguments.window, ending.clone())?;
    runtime.spawn(show(app.handle().clone(), kiosk.clone(), ending.clone()));
    runtime.spawn(listen_for_signals(ending.clone()));
    let ended = runtime.spawn(end(app.handle().clone(), kiosk, endings));
    app.run_return(keep_open);
    // In case that the event loop ended by itself.
    let _ = ending.send(Ending::PageLost);
    Ok(runtime.block_on(ended)?)
}

/// Every screen of the station goes to the page.
async fn show(app: AppHandle, kiosk: KioskHandle, ending: UnboundedSender<Ending>) {
    let mut screens = kiosk.screen();
    while screens.changed().await.is_ok() {
        let screen = screens.borrow_and_update().clone();
        if let Err(error) = app.emit_to(window::LABEL, "screen", screen.as_ref()) {
            tracing::error!(error = error.to_string(), "window.screen_not_shown");
        }
    }
    let _ = ending.send(Ending::StationEnded);
}

async fn listen_for_signals(ending: UnboundedSender<Ending>) {
    lotgate_station::wait_for_signal().await;
    let _ = ending.send(Ending::Asked);
}

/// The first reason to end closes the station, and then the window.
async fn end(app: AppHandle, kiosk: KioskHandle, mut endings: UnboundedReceiver<Ending>) -> Exit {
    let ending = endings.recv().await.unwrap_or(Ending::PageLost);
    let closed = tokio::time::timeout(CLOSING, kiosk.stop()).await.is_ok();
    let exit = Exit::of(ending, closed);
    tracing::info!(?ending, closed, exit = exit as u8, "window.ended");
    app.exit(i32::from(exit as u8));
    exit
}

/// Nobody closes the window but [`end`]: not Alt+F4, not a task bar, not the page.
fn keep_open(_: &AppHandle<Wry>, event: RunEvent) {
    match event {
        RunEvent::WindowEvent { event: WindowEvent::CloseRequested { api, .. }, .. } => api.prevent_close(),
        RunEvent::ExitRequested { code: None, api, .. } => api.prevent_exit(),
        _ => {}
    }
}
