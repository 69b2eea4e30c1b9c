//! Between a browser and a station, for tests of the ui alone: serves the ui as files and tells it screens by
//! server-sent events. No release has it, and it listens on loopback only.
//!
//! `bridge --scenes`: every scene of the tests under its name (`/?scene=NAME&lang=de`), answering no request.
//! `bridge --station FILE`: a whole station with that configuration. Its first line of output is its address.
#![allow(clippy::print_stdout, reason = "the address is what a caller waits for")]

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream::{self, Stream, StreamExt as _};
use lotgate_station::config::Flags;
use lotgate_station::kiosk::{Kiosk, KioskHandle, Options};
use lotgate_station::screen::{Request, Screen, ScreenLanguage};
use lotgate_tests::scenes::{self, Scene};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How soon a scene that is shown again and again comes anew.
const AGAIN: Duration = Duration::from_millis(50);

/// Where the screens come from.
enum Source {
    /// Values that were written down.
    Scenes(Vec<Scene>),
    /// A station at work.
    Station(KioskHandle),
}

/// What the ui says of a painted screen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Painted {
    revision: u64,
}

struct Bridge {
    source: Source,
    ui: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let (mut source, mut port) = (None, 0u16);
    let mut ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/dist-bridge");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--scenes" => source = Some(Source::Scenes(scenes::all())),
            "--station" => {
                let config = arguments.next().context("--station needs a configuration")?;
                let flags = Flags { config: Some(config.into()), ..Flags::default() };
                source = Some(Source::Station(Kiosk::start(Options { flags, demo: true })));
            }
            "--ui" => ui = arguments.next().context("--ui needs a directory")?.into(),
            "--port" => port = arguments.next().context("--port needs a number")?.parse()?,
            other => bail!("unknown argument {other}"),
        }
    }
    let bridge = Arc::new(Bridge { source: source.context("--scenes or --station FILE")?, ui });
    let routes = Router::new()
        .route("/scenes", get(scene_list))
        .route("/screens", get(screens))
        .route("/request", post(request))
        .route("/painted", post(painted))
        .fallback(get(file))
        .with_state(bridge);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, routes).await?;
    Ok(())
}

/// Every scene with its name, for a test that compares what is drawn with what was meant.
async fn scene_list(State(bridge): State<Arc<Bridge>>, uri: Uri) -> Response {
    match &bridge.source {
        Source::Scenes(scenes) => {
            json(&scenes.iter().map(|scene| scene.seen(language(&uri))).collect::<Vec<_>>())
        }
        Source::Station(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn screens(State(bridge): State<Arc<Bridge>>, uri: Uri) -> Response {
    match &bridge.source {
        Source::Scenes(scenes) => scene(scenes, &uri),
        Source::Station(station) => {
            let following = stream::unfold((station.screen(), true), |(mut screen, first)| async move {
                if !first {
                    screen.changed().await.ok()?;
                }
                let next = screen.borrow_and_update().as_ref().clone();
                Some((next, (screen, false)))
            });
            events(following)
        }
    }
}

fn scene(scenes: &[Scene], uri: &Uri) -> Response {
    let Some(scene) = scenes::named(scenes, parameter(uri, "scene").unwrap_or_default()) else {
        return (StatusCode::NOT_FOUND, "no such scene; /scenes lists them").into_response();
    };
    let screen = scene.seen(language(uri)).screen;
    if parameter(uri, "again").is_some() {
        // As a screen whose ages change all the time.
        let again = stream::unfold(screen, |mut screen| async move {
            tokio::time::sleep(AGAIN).await;
            screen.revision += 1;
            Some((screen.clone(), screen))
        });
        return events(again);
    }
    // It stays open: a browser that sees its end would ask again and again.
    events(stream::once(async move { screen }).chain(stream::pending()))
}

async fn request(State(bridge): State<Arc<Bridge>>, body: Bytes) -> Response {
    read::<Request>(&body, |request| {
        if let Source::Station(station) = &bridge.source {
            station.request(request);
        }
    })
}

async fn painted(State(bridge): State<Arc<Bridge>>, body: Bytes) -> Response {
    read::<Painted>(&body, |painted| {
        if let Source::Station(station) = &bridge.source {
            station.painted(painted.revision);
        }
    })
}

fn read<T: DeserializeOwned>(body: &[u8], take: impl FnOnce(T)) -> Response {
    match serde_json::from_slice(body) {
        Ok(value) => {
            take(value);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

fn events(screens: impl Stream<Item = Screen> + Send + 'static) -> Response {
    let events = screens.map(|screen| {
        let json = serde_json::to_string(&screen).unwrap_or_default();
        Ok::<_, Infallible>(Event::default().data(json))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// A file of the ui. A path that leaves its directory is not found.
async fn file(State(bridge): State<Arc<Bridge>>, uri: Uri) -> Response {
    let path = Path::new(uri.path().trim_start_matches('/'));
    let path = if path.as_os_str().is_empty() { Path::new("index.html") } else { path };
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    let Some(bytes) = inside.then(|| std::fs::read(bridge.ui.join(path)).ok()).flatten() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    };
    ([(header::CONTENT_TYPE, kind)], bytes).into_response()
}

fn json(value: &impl serde::Serialize) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    (headers, serde_json::to_vec(value).unwrap_or_default()).into_response()
}

fn language(uri: &Uri) -> ScreenLanguage {
    if parameter(uri, "lang") == Some("de") { ScreenLanguage::De } else { ScreenLanguage::En }
}

/// A parameter of the query. Names of scenes need no decoding.
fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
