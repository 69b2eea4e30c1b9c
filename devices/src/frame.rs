//! A serial scanner's byte stream, cut into scans.
//!
//! Pure: bytes and the time come in, scans and faults go out. The rules: a scan ends at its terminator and in no
//! other way; silence within a scan discards it; a scan counts only if its start was seen.

use std::time::Duration;

use crate::event::DeviceFault;

/// The most bytes a scan may have: the digits of the largest QR code (ISO/IEC 18004, version 40-L).
pub const FRAME_MAX: usize = 7_089;

/// The longest silence between two bytes of one scan.
pub const GAP: Duration = Duration::from_millis(300);

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const LF: u8 = b'\n';
const CR: u8 = b'\r';

/// The byte or pair that the scanner is configured to send after each scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Terminator {
    /// CR. An LF directly after it is swallowed, so that a scanner sending CR LF works too.
    #[default]
    Cr,
    /// LF.
    Lf,
    /// CR LF as a pair; either of them alone is data.
    CrLf,
    /// ETX. An STX before the scan is its start and is swallowed.
    Etx,
}

impl Terminator {
    /// The bytes on the line.
    #[must_use]
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Cr => b"\r",
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::Etx => b"\x03",
        }
    }
}

/// What the decoder makes of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// One scan without its terminator: 1 to [`FRAME_MAX`] bytes.
    Frame(Vec<u8>),
    /// Bytes were discarded.
    Fault(DeviceFault),
}

/// Cuts one connection's bytes into scans. A new connection needs a new decoder.
///
/// Terminators with nothing before them are ignored: no code was read.
#[derive(Debug)]
pub struct FrameDecoder {
    terminator: Terminator,
    gap: Duration,
    partial: Vec<u8>,
    /// The scan is over its limit; bytes are dropped until it ends.
    too_long: bool,
    /// The byte before `partial` or, while dropping, the byte before the next.
    previous: Option<u8>,
    /// A terminator, or silence, was seen: the next byte starts a scan.
    synchronised: bool,
    last_byte: Duration,
}

impl FrameDecoder {
    /// Starts with a freshly opened port. `now` is any monotonic time, the same one for all calls; `gap` is
    /// normally [`GAP`].
    #[must_use]
    pub fn new(terminator: Terminator, gap: Duration, now: Duration) -> Self {
        Self {
            terminator,
            gap,
            partial: Vec::new(),
            too_long: false,
            previous: None,
            synchronised: false,
            last_byte: now,
        }
    }

    /// Takes the bytes of one read. `now` is when they were read. Appends what they complete to `out`, in order.
    pub fn push(&mut self, bytes: &[u8], now: Duration, out: &mut Vec<Decoded>) {
        if bytes.is_empty() {
            return;
        }
        self.tick(now, out);
        for &byte in bytes {
            self.take(byte, out);
        }
        self.last_byte = now;
    }

    /// Takes notice of the time; to be called at least every [`gap`](Self::new) or so while nothing comes.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Decoded>) {
        if now.saturating_sub(self.last_byte) <= self.gap {
            return;
        }
        if !self.partial.is_empty() {
            out.push(Decoded::Fault(DeviceFault::ScanUnterminated { bytes: self.partial.len() }));
        }
        self.start_scan(None);
    }

    /// Ends the connection: what is left of a scan is discarded, and returned as a fault.
    #[must_use]
    pub fn interrupt(self) -> Option<DeviceFault> {
        (!self.partial.is_empty()).then_some(DeviceFault::ScanInterrupted { bytes: self.partial.len() })
    }

    /// Whether the next byte is known to start a scan or to belong to one whose start was seen.
    ///
    /// A port can be opened while the scanner is sending, and a terminal can still hold the end of a scan whose
    /// start went to a reader that died. So what comes within the gap after opening counts only if it starts
    /// with an AIM identifier (or with STX, if the terminator is ETX).
    #[must_use]
    pub fn is_synchronised(&self) -> bool {
        self.synchronised
    }

    /// How many bytes of an unfinished scan are held.
    #[must_use]
    pub fn unfinished_bytes(&self) -> usize {
        self.partial.len()
    }

    fn take(&mut self, byte: u8, out: &mut Vec<Decoded>) {
        let first = self.partial.is_empty() && !self.too_long;
        if first && self.terminator == Terminator::Cr && byte == LF && self.may_follow_cr() {
            self.previous = Some(byte);
            return;
        }
        let ends = match self.terminator {
            Terminator::Cr => byte == CR,
            Terminator::Lf => byte == LF,
            Terminator::CrLf => byte == LF && self.byte_before() == Some(CR),
            Terminator::Etx => byte == ETX,
        };
        if ends {
            self.end_scan(byte, out);
        } else if self.too_long {
            self.previous = Some(byte);
        } else {
            self.partial.push(byte);
            if self.content(&self.partial).len() > FRAME_MAX {
                out.push(Decoded::Fault(DeviceFault::ScanTooLong));
                self.partial.clear();
                self.too_long = true;
                self.previous = Some(byte);
            }
        }
    }

    /// A port opened between the CR and the LF of a pair sees the LF first.
    fn may_follow_cr(&self) -> bool {
        self.previous == Some(CR) || (self.previous.is_none() && !self.synchronised)
    }

    fn byte_before(&self) -> Option<u8> {
        self.partial.last().copied().or(if self.too_long { self.previous } else { None })
    }

    /// The scan's own bytes: without an STX that starts it and a CR that may turn out to be half a terminator.
    fn content<'a>(&self, partial: &'a [u8]) -> &'a [u8] {
        match self.terminator {
            Terminator::Cr | Terminator::Lf => partial,
            Terminator::CrLf => partial.strip_suffix(&[CR]).unwrap_or(partial),
            Terminator::Etx => partial.strip_prefix(&[STX]).unwrap_or(partial),
        }
    }

    fn end_scan(&mut self, last: u8, out: &mut Vec<Decoded>) {
        let partial = std::mem::take(&mut self.partial);
        let content = self.content(&partial);
        let starts = self.synchronised
            || starts_with_aim_identifier(content)
            || (self.terminator == Terminator::Etx && partial.first() == Some(&STX));
        if !content.is_empty() {
            out.push(if starts {
                Decoded::Frame(content.to_vec())
            } else {
                Decoded::Fault(DeviceFault::ScanWithoutStart { bytes: content.len() })
            });
        }
        self.start_scan(Some(last));
    }

    fn start_scan(&mut self, previous: Option<u8>) {
        self.partial.clear();
        self.too_long = false;
        self.previous = previous;
        self.synchronised = true;
    }
}

/// Whether the bytes start with `]`, a code character and a modifier (ISO/IEC 15424).
pub(crate) fn starts_with_aim_identifier(content: &[u8]) -> bool {
    matches!(content, [b']', code, modifier, ..] if code.is_ascii_alphabetic() && modifier.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Duration = Duration::from_secs(100);

    fn opened(terminator: Terminator) -> FrameDecoder {
        FrameDecoder::new(terminator, GAP, AT)
    }

    /// A decoder that has heard silence since the port was opened.
    fn listening(terminator: Terminator) -> FrameDecoder {
        FrameDecoder { synchronised: true, ..opened(terminator) }
    }

    fn pushed(decoder: &mut FrameDecoder, bytes: &[u8], now: Duration) -> Vec<Decoded> {
        let mut out = Vec::new();
        decoder.push(bytes, now, &mut out);
        out
    }

    fn frames(wanted: &[&[u8]]) -> Vec<Decoded> {
        wanted.iter().map(|bytes| Decoded::Frame(bytes.to_vec())).collect()
    }

    #[test]
    fn each_terminator_ends_a_scan_and_many_scans_in_one_read_are_many() {
        type Case = (Terminator, &'static [u8], &'static [&'static [u8]]);
        let cases: [Case; 8] = [
            (Terminator::Cr, b"A\x1d1\rB\rC\r", &[b"A\x1d1", b"B", b"C"]),
            (Terminator::Cr, b"A\r\nB\r\n", &[b"A", b"B"]),
            (Terminator::Cr, b"\r\r\n\rA\nB\r", &[b"A\nB"]),
            (Terminator::Lf, b"A\nB\r\n\n", &[b"A", b"B\r"]),
            (Terminator::CrLf, b"A\rB\nC\r\r\n", &[b"A\rB\nC\r"]),
            (Terminator::CrLf, b"\r\nA\r\n", &[b"A"]),
            (Terminator::Etx, b"\x02A\x02\r\n\x03B\x03", &[b"A\x02\r\n", b"B"]),
            (Terminator::Etx, b"\x02\x03A\x03", &[b"A"]),
        ];
        for (terminator, bytes, wanted) in cases {
            let found = pushed(&mut listening(terminator), bytes, AT);
            assert_eq!(found, frames(wanted), "{terminator:?} {bytes:02x?}");
        }
    }

    #[test]
    fn a_scan_without_terminator_is_discarded_after_the_gap_and_not_before() {
        let mut decoder = listening(Terminator::Cr);
        assert_eq!(pushed(&mut decoder, b"AB", AT), [], "nothing ends it");
        let mut out = Vec::new();
        decoder.tick(AT + GAP, &mut out);
        assert_eq!(out, [], "the gap is allowed");
        decoder.tick(AT + GAP + Duration::from_millis(1), &mut out);
        assert_eq!(out, [Decoded::Fault(DeviceFault::ScanUnterminated { bytes: 2 })], "announced");
        decoder.tick(AT + GAP * 2, &mut out);
        assert_eq!(out.len(), 1, "announced once");
        assert_eq!(pushed(&mut decoder, b"C\r", AT + GAP * 3), frames(&[b"C"]), "never joined");
    }

    #[test]
    fn a_gap_seen_only_when_the_next_bytes_come_separates_too() {
        let mut decoder = listening(Terminator::Cr);
        pushed(&mut decoder, b"AB", AT);
        let found = pushed(&mut decoder, b"C\r", AT + GAP * 2);
        let fault = Decoded::Fault(DeviceFault::ScanUnterminated { bytes: 2 });
        assert_eq!(found, [vec![fault], frames(&[b"C"])].concat(), "AB is announced, C is a scan of its own");
    }

    #[test]
    fn the_largest_scan_fits_and_one_byte_more_is_announced_once() {
        for terminator in [Terminator::Cr, Terminator::Lf, Terminator::CrLf, Terminator::Etx] {
            let largest = vec![b'7'; FRAME_MAX];
            let sent = [&largest, terminator.bytes()].concat();
            let found = pushed(&mut listening(terminator), &sent, AT);
            assert_eq!(found, frames(&[&largest]), "{terminator:?}: the largest fits");

            let end = terminator.bytes();
            let too_long = [&vec![b'7'; FRAME_MAX * 3], end, b"A", end].concat();
            let found = pushed(&mut listening(terminator), &too_long, AT);
            let wanted = [vec![Decoded::Fault(DeviceFault::ScanTooLong)], frames(&[b"A"])].concat();
            assert_eq!(found, wanted, "{terminator:?}: all of it is dropped, and the next scan is whole");
        }
    }

    #[test]
    fn an_interrupted_scan_is_announced_and_an_idle_line_is_not() {
        let mut decoder = listening(Terminator::Cr);
        pushed(&mut decoder, b"AB", AT);
        assert_eq!(decoder.unfinished_bytes(), 2, "held");
        assert_eq!(decoder.interrupt(), Some(DeviceFault::ScanInterrupted { bytes: 2 }), "announced");
        assert_eq!(listening(Terminator::Cr).interrupt(), None, "nothing was lost");
    }

    #[test]
    fn directly_after_opening_only_a_scan_whose_start_is_certain_counts() {
        let tail = Decoded::Fault(DeviceFault::ScanWithoutStart { bytes: 2 });
        let mut decoder = opened(Terminator::Cr);
        assert!(!decoder.is_synchronised(), "the first bytes may be the end of a scan");
        let found = pushed(&mut decoder, b"42\rLOT42\r", AT);
        assert_eq!(
            found,
            [vec![tail.clone()], frames(&[b"LOT42"])].concat(),
            "the terminator starts the next"
        );

        let found = pushed(&mut opened(Terminator::Cr), b"]C142\r", AT);
        assert_eq!(found, frames(&[b"]C142"]), "an AIM identifier is a start");
        let found = pushed(&mut opened(Terminator::Etx), b"\x0242\x03", AT);
        assert_eq!(found, frames(&[b"42"]), "an STX is a start");
        let found = pushed(&mut opened(Terminator::Cr), b"\n42\r", AT);
        assert_eq!(found, [tail], "an LF may belong to the last CR, but proves nothing");

        let mut decoder = opened(Terminator::Cr);
        decoder.tick(AT + GAP * 2, &mut Vec::new());
        assert!(decoder.is_synchronised(), "after silence the next byte is a start");
        assert_eq!(pushed(&mut decoder, b"42\r", AT + GAP * 2), frames(&[b"42"]), "so it counts");
    }

    fn any_terminator() -> impl Strategy<Value = Terminator> {
        prop_oneof![Just(Terminator::Cr), Just(Terminator::Lf), Just(Terminator::CrLf), Just(Terminator::Etx)]
    }

    /// Bytes in which terminators, AIM identifiers and their parts are frequent.
    fn line_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![3 => any::<u8>(), 2 => prop::sample::select(b"\r\n\x02\x03]C1".to_vec())];
        prop::collection::vec(byte, 0..200)
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_scans(
            terminator in any_terminator(),
            bytes in line_bytes(),
            filler in prop_oneof![Just(0_usize), FRAME_MAX - 150..FRAME_MAX + 5],
            sizes in prop::collection::vec(1_usize..40, 1..50),
        ) {
            let bytes = [vec![b'7'; filler], bytes].concat();
            let mut whole = opened(terminator);
            let wanted = pushed(&mut whole, &bytes, AT);
            let mut chunked = opened(terminator);
            let mut found = Vec::new();
            let mut rest = bytes.as_slice();
            for size in sizes.iter().cycle() {
                let (chunk, after) = rest.split_at((*size).min(rest.len()));
                chunked.push(chunk, AT, &mut found);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(chunked.interrupt(), whole.interrupt());
        }

        #[test]
        fn scans_sent_come_out_as_they_were(
            terminator in any_terminator(),
            scans in prop::collection::vec(prop::collection::vec(4..=255_u8, 1..60), 0..20),
        ) {
            let clean: Vec<Vec<u8>> = scans
                .into_iter()
                .map(|scan| scan.into_iter().map(|byte| if byte == CR || byte == LF { b'x' } else { byte }).collect())
                .collect();
            let sent: Vec<u8> = clean.iter().flat_map(|scan| [scan, terminator.bytes()].concat()).collect();
            let found = pushed(&mut listening(terminator), &sent, AT);
            prop_assert_eq!(found, clean.into_iter().map(Decoded::Frame).collect::<Vec<_>>());
        }

        #[test]
        fn every_byte_is_in_a_scan_a_fault_or_a_terminator(
            terminator in any_terminator(),
            reads in prop::collection::vec((line_bytes(), 0_u64..700), 0..12),
        ) {
            let mut decoder = opened(terminator);
            let mut now = AT;
            let mut out = Vec::new();
            let mut sent = 0;
            let mut ends = 0;
            for (bytes, later) in reads {
                now += Duration::from_millis(later);
                sent += bytes.len();
                ends += bytes.iter().filter(|byte| matches!(**byte, CR | LF | STX | ETX)).count();
                decoder.push(&bytes, now, &mut out);
            }
            out.extend(decoder.interrupt().map(Decoded::Fault));
            let kept: usize = out
                .iter()
                .map(|decoded| match decoded {
                    Decoded::Frame(bytes) => bytes.len(),
                    Decoded::Fault(
                        DeviceFault::ScanUnterminated { bytes }
                        | DeviceFault::ScanInterrupted { bytes }
                        | DeviceFault::ScanWithoutStart { bytes },
                    ) => *bytes,
                    Decoded::Fault(_) => 0,
                })
                .sum();
            prop_assert!(out.iter().all(|decoded| *decoded != Decoded::Frame(Vec::new())));
            prop_assert!(kept <= sent && sent - kept <= ends, "{} of {} bytes, {} ends", kept, sent, ends);
        }
    }
}
