//! What a ZPL printer answers to `~HS`, and what that says of its state. Nothing here reads a clock or a socket.
//!
//! The answer is three lines, each between STX and ETX and followed by CR LF:
//!
//! ```text
//! aaa,b,c,dddd,eee,f,g,h,iii,j,k,l      b paper out  c paused  e formats waiting  f buffer full  h half a format  k, l cold, hot
//! mmm,n,o,p,q,r,s,t,uuuuuuuu,v,www      o head open  p ribbon out  u labels left
//! xxxx,y
//! ```

use crate::event::PrinterState;

/// The question.
pub const QUESTION: &[u8] = b"~HS";

/// No answer is longer; real ones have about 80 bytes.
const LONGEST: usize = 512;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
/// Fields that each line has at least, and no line has more than this many.
const LEAST: [usize; 3] = [12, 11, 2];
const MOST: usize = 24;

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostStatus {
    /// Out of labels.
    pub paper_out: bool,
    /// Out of ribbon.
    pub ribbon_out: bool,
    /// Head open.
    pub head_open: bool,
    /// Paused.
    pub paused: bool,
    /// The head is too hot or too cold.
    pub temperature: bool,
    /// It takes no more bytes.
    pub buffer_full: bool,
    /// It has the beginning of a format and not its end.
    pub partial_format: bool,
    /// Whole formats that wait.
    pub formats: u32,
    /// Labels of the format in work that are still to come.
    pub remaining: u32,
}

impl HostStatus {
    /// How the printer stands, by what a person has to do first.
    #[must_use]
    pub fn state(&self) -> PrinterState {
        if self.head_open {
            PrinterState::HeadOpen
        } else if self.paper_out {
            PrinterState::PaperOut
        } else if self.ribbon_out {
            PrinterState::RibbonOut
        } else if self.temperature {
            PrinterState::Temperature
        } else if self.paused {
            PrinterState::Paused
        } else if self.buffer_full || self.is_working() {
            PrinterState::Busy
        } else {
            PrinterState::Ready
        }
    }

    /// It has something that is not printed yet.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.partial_format || self.formats > 0 || self.remaining > 0
    }
}

/// What came is not an answer of a ZPL printer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotZpl;

/// Puts answers together from what a connection delivers, in pieces of any size.
#[derive(Debug, Default)]
pub struct StatusReader {
    bytes: Vec<u8>,
}

impl StatusReader {
    /// Takes what came; appends an entry for each whole answer, and one for what can never become one. After that
    /// everything up to then is forgotten.
    pub fn push(&mut self, bytes: &[u8], answers: &mut Vec<Result<HostStatus, NotZpl>>) {
        for &byte in bytes {
            // Between two lines printers differ: CR LF, one of them, or nothing.
            if self.is_between_lines() && matches!(byte, b'\r' | b'\n') {
                continue;
            }
            self.bytes.push(byte);
            if self.bytes.len() > LONGEST || !self.fits(byte) {
                self.bytes.clear();
                if answers.last() != Some(&Err(NotZpl)) {
                    answers.push(Err(NotZpl));
                }
            } else if byte == ETX && self.lines() == LEAST.len() {
                answers.push(read(&self.bytes));
                self.bytes.clear();
            }
        }
    }

    /// Half an answer waits for its end.
    #[must_use]
    pub fn is_within(&self) -> bool {
        !self.bytes.is_empty()
    }

    fn is_between_lines(&self) -> bool {
        self.bytes.last().is_none_or(|last| *last == ETX)
    }

    fn lines(&self) -> usize {
        self.bytes.iter().filter(|byte| **byte == ETX).count()
    }

    /// Whether the byte that came last can stand where it stands.
    fn fits(&self, byte: u8) -> bool {
        let before = self.bytes.iter().rev().nth(1);
        match byte {
            STX => before.is_none_or(|before| *before == ETX),
            ETX => before.is_some(),
            0x20..=0x7e => before.is_some_and(|before| *before != ETX),
            _ => false,
        }
    }
}

fn read(bytes: &[u8]) -> Result<HostStatus, NotZpl> {
    let mut lines = bytes.split(|byte| *byte == ETX).map(|line| line.strip_prefix(&[STX]));
    let [Some(Some(one)), Some(Some(two)), Some(Some(three))] = [lines.next(), lines.next(), lines.next()]
    else {
        return Err(NotZpl);
    };
    let lines = [one, two, three].map(|line| line.split(|byte| *byte == b',').collect::<Vec<_>>());
    let fits = |line: &Vec<&[u8]>, least: usize| (least..=MOST).contains(&line.len());
    if !lines.iter().zip(LEAST).all(|(line, least)| fits(line, least)) {
        return Err(NotZpl);
    }
    let [one, two, _] = lines;
    Ok(HostStatus {
        paper_out: flag(&one, 1)?,
        paused: flag(&one, 2)?,
        formats: number(&one, 4)?,
        buffer_full: flag(&one, 5)?,
        partial_format: flag(&one, 7)?,
        temperature: flag(&one, 10)? | flag(&one, 11)?,
        head_open: flag(&two, 2)?,
        ribbon_out: flag(&two, 3)?,
        remaining: number(&two, 8)?,
    })
}

fn flag(line: &[&[u8]], field: usize) -> Result<bool, NotZpl> {
    match line.get(field) {
        Some(&b"0") => Ok(false),
        Some(&b"1") => Ok(true),
        _ => Err(NotZpl),
    }
}

fn number(line: &[&[u8]], field: usize) -> Result<u32, NotZpl> {
    let digits = line.get(field).filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or(NotZpl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(one: &str, two: &str, three: &str) -> Vec<u8> {
        [one, two, three].map(|line| format!("\u{2}{line}\u{3}\r\n")).concat().into_bytes()
    }

    const ONE: &str = "030,0,0,1245,000,0,0,0,000,0,0,0";
    const TWO: &str = "001,0,0,0,1,2,4,0,00000000,1,000";

    fn all(bytes: &[u8]) -> Vec<Result<HostStatus, NotZpl>> {
        let (mut reader, mut answers) = (StatusReader::default(), Vec::new());
        reader.push(bytes, &mut answers);
        answers
    }

    fn state(one: &str, two: &str) -> Result<PrinterState, NotZpl> {
        let answers = all(&answer(one, two, "1234,0"));
        assert_eq!(answers.len(), 1, "{one} {two}");
        answers[0].map(|status| status.state())
    }

    #[test]
    fn each_flag_of_an_answer_is_its_state() {
        use PrinterState::{Busy, HeadOpen, PaperOut, Paused, Ready, RibbonOut, Temperature};
        assert_eq!(state(ONE, TWO), Ok(Ready), "the labels are set, the ribbon is in, nothing waits");
        let one = [
            ("030,1,0,1245,000,0,0,0,000,0,0,0", PaperOut),
            ("030,0,1,1245,000,0,0,0,000,0,0,0", Paused),
            ("030,0,0,1245,002,0,0,0,000,0,0,0", Busy),
            ("030,0,0,1245,000,1,0,0,000,0,0,0", Busy),
            ("030,0,0,1245,000,0,0,1,000,0,0,0", Busy),
            ("030,0,0,1245,000,0,0,0,000,0,1,0", Temperature),
            ("030,0,0,1245,000,0,0,0,000,0,0,1", Temperature),
            ("030,1,1,1245,001,0,0,0,000,0,0,0", PaperOut),
        ];
        for (one, wanted) in one {
            assert_eq!(state(one, TWO), Ok(wanted), "{one}");
        }
        let two = [
            ("001,0,1,0,1,2,4,0,00000000,1,000", HeadOpen),
            ("001,0,0,1,1,2,4,0,00000000,1,000", RibbonOut),
            ("001,0,0,0,1,2,4,0,00000003,1,000", Busy),
            ("001,0,0,0,1,2,4,1,00000000,1,000", Ready),
        ];
        for (two, wanted) in two {
            assert_eq!(state(ONE, two), Ok(wanted), "{two}");
        }
    }

    #[test]
    fn what_is_not_an_answer_is_said_so_once_and_the_next_answer_is_read() {
        let good = answer(ONE, TWO, "1234,0");
        let foreign: [&[u8]; 10] = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\x00\xff\x80",
            b"\x02\x02",
            b"\x03",
            b"\x02a\x03b",
            &answer("030,0,0", TWO, "1234,0"),
            &answer("030,2,0,1245,000,0,0,0,000,0,0,0", TWO, "1234,0"),
            &answer("030,0,0,1245,-01,0,0,0,000,0,0,0", TWO, "1234,0"),
            &answer("030,0,0,1245,99999999999,0,0,0,000,0,0,0", TWO, "1234,0"),
            &answer(&",".repeat(100), TWO, "1234,0"),
        ];
        for foreign in foreign {
            let answers = all(&[foreign, &good].concat());
            assert_eq!(answers[0], Err(NotZpl), "{foreign:?}");
            assert_eq!(answers.len(), 2, "{foreign:?}: {answers:?}");
            assert!(answers[1].is_ok(), "{foreign:?}");
        }
        let flood = [b"\x02".as_slice(), &b"0".repeat(1 << 20)].concat();
        assert_eq!(all(&flood), [Err(NotZpl)], "no memory for what never ends");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_none_is_kept_for_long(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let (mut reader, mut answers) = (StatusReader::default(), Vec::new());
            reader.push(&bytes, &mut answers);
            prop_assert!(reader.bytes.len() <= LONGEST);
        }

        #[test]
        fn almost_answers_do_not_panic(text in "(\u{2}([0-9,]{0,40}|[ -~]{0,6})\u{3}(\r\n)?){0,9}") {
            all(text.as_bytes());
        }

        #[test]
        fn any_chunking_gives_the_same_answers(count in 1usize..4, cuts in prop::collection::vec(1usize..40, 1..40)) {
            let bytes = answer(ONE, TWO, "1234,0").repeat(count);
            let (mut reader, mut answers, mut rest) = (StatusReader::default(), Vec::new(), &bytes[..]);
            for cut in cuts.into_iter().cycle() {
                let (piece, left) = rest.split_at(cut.min(rest.len()));
                reader.push(piece, &mut answers);
                rest = left;
                if rest.is_empty() { break }
            }
            prop_assert_eq!(&answers, &all(&bytes));
            prop_assert_eq!(answers.len(), count);
            prop_assert!(!reader.is_within());
        }
    }
}
