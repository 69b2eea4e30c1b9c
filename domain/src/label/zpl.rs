//! One ZPL format. Everything that is not of this file goes through [`push_field_data`].

use super::fit::Fitted;
use super::{DOTS_PER_MM, HEIGHT_MM, WIDTH_MM};
use crate::gs1::SEPARATOR;
use std::fmt::Write;

/// In what follows `^FH\`, this and two hexadecimal digits are a byte.
const HEX: char = '\\';
/// In a Data Matrix: what begins a function character. GS1's set 82 does not have it, so no data ever contains it: the
/// usual `_` would have to be doubled in data, which not every reader of ZPL undoes alike.
const ESCAPE: char = '#';

/// Where a text stands in its width.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// A format that is being written.
pub(super) struct Zpl(String);

impl Zpl {
    /// Everything that a format before it could have left behind is set: size, origin, orientation, reverse and
    /// mirror print, UTF-8, one piece. How the printer feeds, cuts and heats stays as the site has set it, and so
    /// does whether it prints again after an error.
    pub(super) fn begin() -> Self {
        let (width, height) = (WIDTH_MM * DOTS_PER_MM, HEIGHT_MM * DOTS_PER_MM);
        Self(format!("^XA^CI28^PW{width}^LL{height}^LH0,0^LS0^FWN^LRN^PON^PMN"))
    }

    /// The lines of a text, the first with its base line at `at`; answers the base line of the last.
    pub(super) fn lines(&mut self, text: &Fitted, at: (u32, u32), width: u32, align: Align) -> u32 {
        let (x, mut y) = at;
        let height = text.height;
        for (number, line) in text.lines.iter().enumerate() {
            if number > 0 {
                y += text.pitch();
            }
            let block = match align {
                Align::Left => String::new(),
                Align::Centre => format!("^FB{width},1,0,C"),
                Align::Right => format!("^FB{width},1,0,R"),
            };
            self.put(format_args!("^FT{x},{y}^A0N,{height},{height}{block}"));
            self.field(line.bytes());
        }
        y
    }

    /// A GS1 DataMatrix of `modules` × `modules`, drawn by the printer: function character 1 first and in the place
    /// of each separator (GS1 General Specifications 5.6, ISO/IEC 16022 ECC 200). The values are of set 82.
    pub(super) fn data_matrix(&mut self, at: (u32, u32), module: u32, modules: u32, data: &[u8]) {
        let (x, y) = at;
        self.put(format_args!(
            "^FO{x},{y}^BXN,{module},200,{modules},{modules},,{ESCAPE}^FH{HEX}^FD{ESCAPE}1"
        ));
        for byte in data {
            match *byte {
                SEPARATOR => self.put(format_args!("{ESCAPE}1")),
                byte => push_field_data(&mut self.0, std::iter::once(byte)),
            }
        }
        self.0.push_str("^FS\n");
    }

    /// A horizontal bar.
    pub(super) fn bar(&mut self, at: (u32, u32), width: u32, thick: u32) {
        self.frame(at, (width, thick), thick);
    }

    /// A frame.
    pub(super) fn frame(&mut self, at: (u32, u32), size: (u32, u32), thick: u32) {
        let ((x, y), (width, height)) = (at, size);
        self.put(format_args!("^FO{x},{y}^GB{width},{height},{thick}^FS\n"));
    }

    /// The whole format.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.push_str("^PQ1,0,1,N^XZ\n");
        self.0.into_bytes()
    }

    fn field(&mut self, data: impl Iterator<Item = u8>) {
        self.0.push_str("^FH\\^FD");
        push_field_data(&mut self.0, data);
        self.0.push_str("^FS\n");
    }

    fn put(&mut self, command: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(command);
    }
}

/// Writes bytes so that none of them can be anything but data: all but letters, digits, space, full stop and hyphen
/// as hexadecimal digits.
fn push_field_data(zpl: &mut String, data: impl Iterator<Item = u8>) {
    for byte in data {
        if byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.' | b'-') {
            zpl.push(char::from(byte));
        } else {
            let _ = write!(zpl, "{HEX}{byte:02X}");
        }
    }
}
