//! Labels as files: what the printer got, and what it looks like.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use labelize::{Language, RenderOptions, render_png};

use super::label_file;

/// Dots per millimetre of a 203 dpi head.
const DOTS: u32 = 8;
/// The largest label that is drawn, in millimetres.
const LARGEST: u32 = 300;

#[derive(Debug)]
pub(super) struct Paper {
    folder: PathBuf,
    number: usize,
}

impl Paper {
    pub(super) fn in_folder(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let number = (0..).find(|number| !label_file(folder, number + 1, "zpl").exists());
        Ok(Self { folder: folder.to_owned(), number: number.unwrap_or(0) })
    }

    /// Each file appears whole; the picture last, so that whoever waits for it finds both.
    pub(super) fn print(&mut self, zpl: &[u8]) -> io::Result<()> {
        self.number += 1;
        self.write("zpl", zpl)?;
        self.write("png", &draw(zpl).ok_or(io::ErrorKind::InvalidData)?)
    }

    fn write(&self, extension: &str, bytes: &[u8]) -> io::Result<()> {
        let file = label_file(&self.folder, self.number, extension);
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, bytes)?;
        std::fs::rename(fresh, file)
    }
}

/// The label as a PNG picture of the size that it names in `^PW` and `^LL`. Whatever the bytes make of the renderer,
/// the printer goes on.
fn draw(zpl: &[u8]) -> Option<Vec<u8>> {
    let millimetres =
        |command| number_after(zpl, command).map(|dots| f64::from(dots.div_ceil(DOTS).clamp(1, LARGEST)));
    let options = RenderOptions {
        language: Some(Language::Zpl),
        width_mm: millimetres(b"^PW"),
        height_mm: millimetres(b"^LL"),
        ..RenderOptions::default()
    };
    let drawn = catch_unwind(AssertUnwindSafe(|| render_png(zpl, options)));
    Some(drawn.ok()?.ok()?.bytes)
}

/// The number behind the first such command.
pub(super) fn number_after(zpl: &[u8], command: &[u8]) -> Option<u32> {
    let at = zpl.windows(command.len()).position(|window| window == command)?;
    let digits = zpl.get(at + command.len()..)?.iter().take_while(|byte| byte.is_ascii_digit());
    String::from_utf8(digits.copied().collect()).ok()?.parse().ok()
}
