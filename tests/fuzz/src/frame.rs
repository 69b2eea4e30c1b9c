//! Any bytes from a scanner, in any chunks, at any time: no panic, and no scan that breaks its promises.
#![no_main]

use std::time::Duration;

use lotgate_devices::frame::{Decoded, FRAME_MAX, FrameDecoder, GAP, Terminator};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((first, mut rest)) = data.split_first() else { return };
    let terminator = match first % 4 {
        0 => Terminator::Cr,
        1 => Terminator::Lf,
        2 => Terminator::CrLf,
        _ => Terminator::Etx,
    };
    let mut now = Duration::from_secs(1);
    let mut decoder = FrameDecoder::new(terminator, GAP, now);
    let mut out = Vec::new();
    // Each read: how many bytes, how many times 5 ms later, how often they are repeated (to reach the limit).
    while let [count, later, times, after @ ..] = rest {
        now += Duration::from_millis(u64::from(*later) * 5);
        let (bytes, left) = after.split_at(usize::from(*count).min(after.len()));
        for _ in 0..=*times {
            decoder.push(bytes, now, &mut out);
        }
        decoder.tick(now, &mut out);
        rest = left;
    }
    for decoded in &out {
        if let Decoded::Frame(bytes) = decoded {
            assert!(!bytes.is_empty() && bytes.len() <= FRAME_MAX, "a scan has 1 to {FRAME_MAX} bytes");
            assert!(
                !bytes.windows(terminator.bytes().len()).any(|part| part == terminator.bytes()),
                "no scan holds a terminator"
            );
        }
    }
    assert!(decoder.unfinished_bytes() <= FRAME_MAX + 1, "what is held is bounded");
});
