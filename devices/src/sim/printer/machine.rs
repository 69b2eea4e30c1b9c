//! What a simulated printer makes of bytes and time. No sockets, no files.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::paper::number_after;

/// The longest format that is kept; a longer one is forgotten.
const LONGEST: usize = 16 << 20;
/// Labels that one format prints at most.
const MOST_COPIES: u32 = 1_000;
/// How much longer a slow printer takes.
const SLOWER: u32 = 10;

/// What is wrong with the printer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `ok`: nothing.
    None,
    /// `paper_out`: it prints nothing and, as its manual says, does not answer.
    PaperOut,
    /// `head_open`: likewise.
    HeadOpen,
    /// `says_paper_out` and so on: it prints nothing and answers what is wrong, as other firmware does.
    Says(Said),
    /// `paused`: it takes labels, prints none, and answers so.
    Paused,
    /// `slow`: each label takes ten times as long.
    Slow,
    /// `buffer_full`: it answers so, and stops reading within the next format.
    BufferFull,
    /// `drop_at BYTE`: it closes the connection behind that byte of the next format, counted from 1; once.
    DropAt(usize),
    /// `lose`: it takes labels, loses them, and answers that all is well.
    Lose,
    /// `twice`: each label comes out twice.
    Twice,
    /// `wrong_language`: it understands nothing, and answers so in words of its own.
    WrongLanguage,
    /// `silent`: it prints and never answers.
    Silent,
    /// `off`: nothing listens. What it had not printed is lost.
    Off,
}

/// What firmware that does not go silent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Out of labels.
    PaperOut,
    /// Out of ribbon.
    RibbonOut,
    /// Head open.
    HeadOpen,
    /// Head too hot.
    Hot,
}

/// A line that names no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such fault: there are ok, paper_out, head_open, says_paper_out, says_ribbon_out, says_head_open, says_hot, \
     paused, slow, buffer_full, drop_at BYTE, lose, twice, wrong_language, silent, off"
)]
pub struct FaultError;

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(line: &str) -> Result<Self, FaultError> {
        if let Some(byte) = line.strip_prefix("drop_at ") {
            return byte.parse().ok().filter(|byte| *byte > 0).map(Self::DropAt).ok_or(FaultError);
        }
        Ok(match line {
            "ok" => Self::None,
            "paper_out" => Self::PaperOut,
            "head_open" => Self::HeadOpen,
            "says_paper_out" => Self::Says(Said::PaperOut),
            "says_ribbon_out" => Self::Says(Said::RibbonOut),
            "says_head_open" => Self::Says(Said::HeadOpen),
            "says_hot" => Self::Says(Said::Hot),
            "paused" => Self::Paused,
            "slow" => Self::Slow,
            "buffer_full" => Self::BufferFull,
            "lose" => Self::Lose,
            "twice" => Self::Twice,
            "wrong_language" => Self::WrongLanguage,
            "silent" => Self::Silent,
            "off" => Self::Off,
            _ => return Err(FaultError),
        })
    }
}

/// What comes of bytes.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) answer: Vec<u8>,
    pub(super) hangs_up: bool,
}

#[derive(Debug)]
pub(super) struct Machine {
    fault: Fault,
    label_time: Duration,
    /// The last three bytes, in which commands are looked for.
    last: [u8; 3],
    /// A format from `^XA` on, while its end is not here.
    format: Option<Vec<u8>>,
    formats: VecDeque<Vec<u8>>,
    /// When the first of them will have come out.
    due: Option<Instant>,
    questions: u64,
}

impl Machine {
    pub(super) fn new(label_time: Duration) -> Self {
        Self {
            fault: Fault::None,
            label_time,
            last: [0; 3],
            format: None,
            formats: VecDeque::new(),
            due: None,
            questions: 0,
        }
    }

    pub(super) fn set(&mut self, fault: Fault) {
        self.fault = fault;
        self.due = None;
        if fault == Fault::Off {
            self.formats.clear();
            self.hang_up();
        }
    }

    pub(super) fn questions(&self) -> u64 {
        self.questions
    }

    pub(super) fn waiting(&self) -> usize {
        self.formats.len()
    }

    pub(super) fn is_off(&self) -> bool {
        self.fault == Fault::Off
    }

    /// It reads nothing more for the moment.
    pub(super) fn is_stalled(&self) -> bool {
        self.fault == Fault::BufferFull && self.format.is_some()
    }

    /// The connection is over, and half a format with it.
    pub(super) fn hang_up(&mut self) {
        self.format = None;
        self.last = [0; 3];
    }

    /// The labels that have come out by `now`.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let held = matches!(
            self.fault,
            Fault::PaperOut
                | Fault::HeadOpen
                | Fault::Says(_)
                | Fault::Paused
                | Fault::Off
                | Fault::BufferFull
        );
        if held || self.formats.is_empty() {
            self.due = None;
            return Vec::new();
        }
        let slower = if self.fault == Fault::Slow { SLOWER } else { 1 };
        let time = self.label_time.saturating_mul(slower);
        if *self.due.get_or_insert(now + time) > now {
            return Vec::new();
        }
        self.due = None;
        let Some(format) = self.formats.pop_front() else { return Vec::new() };
        let copies = number_after(&format, b"^PQ").unwrap_or(1).clamp(1, MOST_COPIES);
        let times = if self.fault == Fault::Twice { 2 } else { 1 };
        (0..copies.saturating_mul(times)).map(|_| format.clone()).collect()
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Heard {
        let mut heard = Heard::default();
        for &byte in bytes {
            self.take(byte, &mut heard);
            if heard.hangs_up {
                break;
            }
        }
        heard
    }

    fn take(&mut self, byte: u8, heard: &mut Heard) {
        let [_, second, third] = self.last;
        self.last = [second, third, byte];
        if let Some(format) = &mut self.format {
            format.push(byte);
        }
        match &self.last {
            b"~HS" => {
                self.questions += 1;
                self.cut_out();
                heard.answer.extend(self.status());
            }
            b"~HI" => {
                self.cut_out();
                if self.speaks() {
                    heard.answer.extend(b"\x02LOTGATE-SIM,V1.0.0,8,8192KB,0\x03\r\n");
                }
            }
            b"^XA" => self.format = Some(b"^XA".to_vec()),
            b"^XZ" => {
                let kept = !matches!(self.fault, Fault::Lose | Fault::WrongLanguage);
                let reached = self.drops_at(self.format.as_ref().map(Vec::len));
                self.formats.extend(self.format.take().filter(|_| kept));
                heard.hangs_up = reached;
            }
            _ => {}
        }
        if self.format.as_ref().is_some_and(|format| format.len() > LONGEST) {
            self.format = None;
        }
        heard.hangs_up |= self.drops_at(self.format.as_ref().map(Vec::len));
        if heard.hangs_up {
            self.fault = Fault::None;
        }
    }

    /// The fault of this kind has been reached.
    fn drops_at(&self, length: Option<usize>) -> bool {
        matches!((self.fault, length), (Fault::DropAt(byte), Some(length)) if length >= byte)
    }

    /// A command that acts at once is no part of the format that it came in.
    fn cut_out(&mut self) {
        if let Some(format) = &mut self.format {
            format.truncate(format.len().saturating_sub(self.last.len()));
        }
    }

    fn speaks(&self) -> bool {
        !matches!(self.fault, Fault::PaperOut | Fault::HeadOpen | Fault::Silent | Fault::WrongLanguage)
    }

    fn status(&self) -> Vec<u8> {
        if self.fault == Fault::WrongLanguage {
            return b"SYNTAX ERROR\r\n".to_vec();
        }
        if !self.speaks() {
            return Vec::new();
        }
        let flag = |set: bool| u8::from(set);
        let said = |what| flag(self.fault == Fault::Says(what));
        let (paused, full) = (flag(self.fault == Fault::Paused), flag(self.fault == Fault::BufferFull));
        let (formats, partial) = (self.formats.len().min(999), flag(self.format.is_some()));
        let (paper, ribbon) = (said(Said::PaperOut), said(Said::RibbonOut));
        let (head, hot) = (said(Said::HeadOpen), said(Said::Hot));
        format!(
            "\u{2}030,{paper},{paused},0480,{formats:03},{full},0,{partial},000,0,0,{hot}\u{3}\r\n\
             \u{2}001,0,{head},{ribbon},1,2,6,0,00000000,1,000\u{3}\r\n\u{2}1234,0\u{3}\r\n"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PrinterState;
    use crate::printer::StatusReader;
    use proptest::prelude::*;

    fn printed(machine: &mut Machine, seconds: u64) -> Vec<Vec<u8>> {
        let start = Instant::now();
        (0..seconds * 10).flat_map(|tenth| machine.tick(start + Duration::from_millis(tenth * 100))).collect()
    }

    fn machine() -> Machine {
        Machine::new(Duration::from_millis(200))
    }

    fn state(machine: &mut Machine) -> Option<PrinterState> {
        let (mut reader, mut answers) = (StatusReader::default(), Vec::new());
        reader.push(&machine.hear(b"~HS").answer, &mut answers);
        let first = answers.first()?;
        Some(first.map_or(PrinterState::NotZpl, |status| status.state()))
    }

    #[test]
    fn what_stands_between_xa_and_xz_comes_out_once_and_as_often_as_it_says() {
        let mut machine = machine();
        machine.hear(b"noise^XA^FDone^FS^XZ\r\n^XA^FDtwo^FS^PQ2^XZ^XA half");
        let labels = [b"^XA^FDone^FS^XZ".as_slice(), b"^XA^FDtwo^FS^PQ2^XZ", b"^XA^FDtwo^FS^PQ2^XZ"];
        assert_eq!(printed(&mut machine, 2), labels);
        assert_eq!(printed(&mut machine, 2), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_question_within_a_format_is_answered_and_is_no_part_of_it() {
        let mut machine = machine();
        assert!(!machine.hear(b"^XA^FDa~HSb^FS^XZ").answer.is_empty());
        assert_eq!(printed(&mut machine, 1), [b"^XA^FDab^FS^XZ"]);
    }

    #[test]
    fn each_fault_is_what_a_station_makes_of_its_answer() {
        let states = [
            ("ok", Some(PrinterState::Ready)),
            ("paper_out", None),
            ("head_open", None),
            ("silent", None),
            ("says_paper_out", Some(PrinterState::PaperOut)),
            ("says_ribbon_out", Some(PrinterState::RibbonOut)),
            ("says_head_open", Some(PrinterState::HeadOpen)),
            ("says_hot", Some(PrinterState::Temperature)),
            ("paused", Some(PrinterState::Paused)),
            ("buffer_full", Some(PrinterState::Busy)),
            ("wrong_language", Some(PrinterState::NotZpl)),
            ("lose", Some(PrinterState::Ready)),
            ("twice", Some(PrinterState::Ready)),
            ("slow", Some(PrinterState::Ready)),
        ];
        for (line, wanted) in states {
            let mut machine = machine();
            machine.set(line.parse().expect(line));
            assert_eq!(state(&mut machine), wanted, "{line}");
        }
        for line in ["", "paper", "drop_at", "drop_at 0", "drop_at x", "OK", "ok "] {
            assert_eq!(line.parse::<Fault>(), Err(FaultError), "{line}");
        }
    }

    #[test]
    fn a_label_waits_for_paper_and_comes_out_once_when_it_is_there() {
        let mut machine = machine();
        machine.set(Fault::PaperOut);
        machine.hear(b"^XA^XZ");
        assert_eq!(printed(&mut machine, 2).len(), 0);
        machine.set(Fault::None);
        assert_eq!(state(&mut machine), Some(PrinterState::Busy));
        assert_eq!(printed(&mut machine, 2).len(), 1);
        assert_eq!(state(&mut machine), Some(PrinterState::Ready));
    }

    #[test]
    fn the_connection_drops_behind_the_byte_that_was_named_and_once() {
        for (byte, formats) in [(1, 0), (4, 0), (5, 0), (6, 1)] {
            let mut machine = machine();
            machine.set(Fault::DropAt(byte));
            assert!(machine.hear(b"^XA^XZ").hangs_up, "{byte}");
            machine.hang_up();
            assert_eq!(machine.waiting(), formats, "{byte}");
            assert!(!machine.hear(b"^XA^XZ").hangs_up, "{byte}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_question_is_always_answered(
            bytes in prop::collection::vec(prop::sample::select(b"^~XAZHSIPQ0\x00\xff,".as_slice()), 0..200),
        ) {
            let mut machine = machine();
            machine.hear(&bytes);
            prop_assert!(state(&mut machine).is_some());
        }
    }
}
