//! A screen without glass: an X server of a given size, ended with its value.

use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// One of the two sizes that the screens are designed for (RULES.md).
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

impl Size {
    /// Both.
    pub const ALL: [Self; 2] = [Self { width: 1920, height: 1080 }, Self { width: 1280, height: 800 }];
}

/// A running X server.
#[derive(Debug)]
pub struct Display {
    server: Child,
    /// What `DISPLAY` is.
    pub name: String,
    /// Its size.
    pub size: Size,
}

impl Display {
    /// Starts one; the server chooses a free number itself.
    pub fn start(size: Size) -> Result<Self> {
        let screen = format!("{}x{}x24", size.width, size.height);
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", &screen, "-nolisten", "tcp", "-noreset"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("Xvfb: tests/setup.sh installs it")?;
        let mut number = String::new();
        BufReader::new(server.stdout.take().context("no stdout")?).read_line(&mut number)?;
        Ok(Self { server, name: format!(":{}", number.trim()), size })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
