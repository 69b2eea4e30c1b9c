//! The product's programs as processes: started on real files, told to stop, or killed.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything that must happen may take before a test says that it does not.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where the program lies: beside the tests, or in `LOTGATE_BIN_DIR`.
pub fn program(name: &str) -> Result<PathBuf> {
    let beside = || -> Option<PathBuf> {
        let test = std::env::current_exe().ok()?;
        let dir = test.parent()?;
        let dir = if dir.ends_with("deps") { dir.parent()? } else { dir };
        Some(dir.to_owned())
    };
    let dir = std::env::var_os("LOTGATE_BIN_DIR").map(PathBuf::from).or_else(beside);
    let path = dir.context("no directory of programs")?.join(name);
    ensure!(path.exists(), "{} is not built: cargo build", path.display());
    Ok(path)
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))
}

/// Runs a command that must succeed and print one JSON document.
pub fn run_json(command: &mut Command) -> Result<Value> {
    let output = run(command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{command:?} printed no JSON: {said}"))
}

/// Waits until `probe` gives something.
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("did not happen within {PATIENCE:?}: {what}");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    complaints: Receiver<String>,
}

impl Process {
    /// Starts it with its output in our hands.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let stderr = child.stderr.take().context("no stderr")?;
        Ok(Self { child, lines: lines_of(stdout), complaints: lines_of(stderr) })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output, if one comes within `patience`.
    pub fn line(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    /// The next line of its standard error, if one comes within `patience`.
    pub fn complaint(&self, patience: Duration) -> Option<String> {
        self.complaints.recv_timeout(patience).ok()
    }

    /// Every line that it printed until now and was not taken yet; after its end, all of them.
    pub fn lines_until_now(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// SIGKILL: what a power cut is to a process. Returns the lines that were not taken yet.
    pub fn kill(mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.lines.iter().collect()
    }

    /// SIGTERM, then waits for its end. Returns the exit code, the lines not taken yet, and what it said
    /// on standard error.
    pub fn stop(mut self) -> Result<(Option<i32>, Vec<String>, String)> {
        let pid = self.child.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "kill -TERM {pid}");
        self.end()
    }

    /// Waits for its end by itself.
    pub fn wait(mut self) -> Result<(Option<i32>, Vec<String>, String)> {
        self.end()
    }

    fn end(&mut self) -> Result<(Option<i32>, Vec<String>, String)> {
        let child = &mut self.child;
        let status = wait_for("the program ends", || Ok(child.try_wait()?))?;
        let said = self.complaints.iter().collect::<Vec<_>>().join("\n");
        Ok((status.code(), self.lines.iter().collect(), said))
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Writes a file that must not be half there.
pub fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
