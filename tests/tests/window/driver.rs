//! The built window as a person has it: opened by WebKitWebDriver on a display, read and touched through it.
//!
//! What is spoken is the W3C protocol: JSON over HTTP, one connection a command.

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lotgate_tests::display::Display;
use lotgate_tests::plant::Station;
use lotgate_tests::programs::{PATIENCE, Process, program, wait_for};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The key of an element's reference (W3C WebDriver, 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// `lotgate-kiosk` on a display.
#[derive(Debug)]
pub(crate) struct Window {
    driver: Process,
    address: SocketAddr,
    session: String,
    config: PathBuf,
    pictures: PathBuf,
    size: String,
}

impl Window {
    /// Opens the window of a station and waits until it has painted its first screen.
    pub(crate) fn open(station: &Station, display: &Display) -> Result<Self> {
        let config = station.dir.join("lotgate.toml");
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("WebKitWebDriver");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LOTGATE_") {
                command.env_remove(name);
            }
        }
        command
            .args(["--host=127.0.0.1", &format!("--port={}", address.port())])
            .env("DISPLAY", &display.name)
            .env("TAURI_WEBVIEW_AUTOMATION", "true")
            .env("GDK_BACKEND", "x11")
            .env("XDG_DATA_HOME", station.dir.join("xdg"))
            .env("XDG_CACHE_HOME", station.dir.join("xdg"));
        let driver = Process::start(&mut command).context("WebKitWebDriver: tests/setup.sh installs it")?;
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/window-screens");
        std::fs::create_dir_all(&pictures)?;
        let size = format!("{}x{}", display.size.width, display.size.height);
        let mut window = Self { driver, address, session: String::new(), config, pictures, size };
        window.begin()?;
        Ok(window)
    }

    fn begin(&mut self) -> Result<()> {
        let address = self.address;
        wait_for("WebKitWebDriver listens", || Ok(TcpStream::connect(address).ok().map(drop)))?;
        let config = self.config.display().to_string();
        // A window of a given size, and not the whole screen, is the one that may be driven.
        let options =
            json!({"binary": program("lotgate-kiosk")?, "args": ["--window", self.size, "--config", config]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}});
        let session = self.call("POST", "/session", Some(&wanted))?;
        session["sessionId"].as_str().context("no session")?.clone_into(&mut self.session);
        self.wait("the first screen", |shown| !shown.main.is_empty()).map(drop)
    }

    /// What stands on the screen now.
    pub(crate) fn shown(&self) -> Result<Shown> {
        let script = "const kiosk = document.querySelector('.kiosk'); \
                      const band = document.querySelector('.band'); \
                      return {main: kiosk?.dataset.main ?? '', \
                      band: band?.dataset.state ?? '', title: band?.querySelector('h1')?.innerText ?? '', \
                      said: band?.innerText ?? '', all: document.body.innerText, \
                      net: document.querySelector('.net .v')?.innerText ?? '', \
                      offline: document.querySelector('.offline-bar') !== null};";
        let value = self.script(script)?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().replace(char::is_whitespace, " ");
        // “2 waiting 4 s”.
        let net = text("net");
        let mut net = net.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        Ok(Shown {
            main: text("main"),
            state: text("band"),
            title: text("title"),
            said: text("said"),
            all: text("all"),
            offline: value["offline"] == true,
            waiting: net.next().and_then(|count| count.parse().ok()),
            oldest: net.next().and_then(|age| age.parse().ok()),
        })
    }

    /// Waits until the screen is as wanted; says what it showed instead.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Shown) -> bool) -> Result<Shown> {
        let mut last = None;
        let found = wait_for(what, || {
            let shown = self.shown()?;
            let good = wanted(&shown);
            last = Some(shown);
            Ok(if good { last.take() } else { None })
        });
        found.with_context(|| {
            let picture = self.picture("failed").map(|path| path.display().to_string());
            format!("{what}; the screen shows {last:#?}, picture {picture:?}")
        })
    }

    /// Touches the button that says `label`, as soon as it is there.
    pub(crate) fn touch(&self, label: &str) -> Result<()> {
        let quoted = serde_json::to_string(label)?;
        let script = format!(
            "return [...document.querySelectorAll('button')].find((button) => !button.disabled && \
             button.innerText.replace(/\\s+/g, ' ').includes({quoted})) ?? null;"
        );
        let element = wait_for(&format!("a button “{label}”"), || {
            Ok(self.script(&script)?[ELEMENT].as_str().map(str::to_owned))
        })
        .with_context(|| format!("{:#?}", self.shown()))?;
        let path = format!("/session/{}/element/{element}/click", self.session);
        self.call("POST", &path, Some(&json!({}))).map(drop)
    }

    /// Keeps a picture of the window.
    pub(crate) fn picture(&self, name: &str) -> Result<PathBuf> {
        // What the page says is ahead of what is painted.
        let frames = "const done = arguments[0]; const next = (n) => requestAnimationFrame(() => \
                      n > 0 ? next(n - 1) : done(null)); next(3);";
        self.wait_script(frames)?;
        let picture = self.call("GET", &format!("/session/{}/screenshot", self.session), None)?;
        let png = STANDARD.decode(picture.as_str().context("no picture")?)?;
        let path = self.pictures.join(format!("{name}-{}.png", self.size));
        std::fs::write(&path, png)?;
        Ok(path)
    }

    /// SIGKILL to the window's program itself: what a power cut is to it.
    pub(crate) fn kill(self) -> Result<()> {
        self.end("-KILL")?;
        drop(self.driver.kill());
        Ok(())
    }

    /// Ends the program as its service manager does.
    pub(crate) fn close(self) -> Result<()> {
        self.end("-TERM")?;
        let (.., said) = self.driver.stop()?;
        ensure!(!said.contains("panicked"), "{said}");
        Ok(())
    }

    fn end(&self, signal: &str) -> Result<()> {
        let pid = self.pid()?;
        let status = Command::new("kill").args([signal, &pid.to_string()]).status()?;
        ensure!(status.success(), "kill {signal} {pid}");
        wait_for("the window ended", || Ok((!Path::new(&format!("/proc/{pid}/exe")).exists()).then_some(())))
    }

    /// The process of the window: the only one with this station's configuration.
    fn pid(&self) -> Result<u32> {
        let config = self.config.display().to_string();
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let mut arguments = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            let is_window = arguments.next().is_some_and(|program| program.ends_with("lotgate-kiosk"));
            if is_window && arguments.any(|argument| argument == config) {
                return Ok(pid);
            }
        }
        bail!("no lotgate-kiosk runs with {config}")
    }

    /// What a script in the page answers.
    pub(crate) fn script(&self, script: &str) -> Result<Value> {
        let path = format!("/session/{}/execute/sync", self.session);
        self.call("POST", &path, Some(&json!({"script": script, "args": []})))
    }

    /// What a script answers that calls its last argument when it is done.
    pub(crate) fn wait_script(&self, script: &str) -> Result<Value> {
        let path = format!("/session/{}/execute/async", self.session);
        self.call("POST", &path, Some(&json!({"script": script, "args": []})))
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        )?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let split = reply.windows(4).position(|four| four == b"\r\n\r\n").context("no HTTP reply")?;
        let mut reply: Value = serde_json::from_slice(&reply[split + 4..])
            .with_context(|| String::from_utf8_lossy(&reply).into_owned())?;
        let value = reply["value"].take();
        if let Some(error) = value.get("error") {
            bail!("{method} {path}: {error}: {}", value["message"]);
        }
        Ok(value)
    }
}

/// What stands on the screen.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Kind of the question: `scan`, `label`, ….
    pub(crate) main: String,
    /// State of the band: `accepted`, `refused`, ….
    pub(crate) state: String,
    pub(crate) title: String,
    /// The whole band.
    pub(crate) said: String,
    /// Every word.
    pub(crate) all: String,
    /// The bar that says that the cloud is away.
    pub(crate) offline: bool,
    /// Operations without a receipt.
    pub(crate) waiting: Option<u64>,
    /// Age of the oldest, in whatever unit is written behind it.
    pub(crate) oldest: Option<u64>,
}
