//! Any bytes from a scanner: a reading that keeps them, with every place inside the data.
#![no_main]

use lotgate_domain::barcode::{SitePatterns, read};

libfuzzer_sys::fuzz_target!(|scan: &[u8]| {
    let reading = read(scan, jiff::civil::date(2026, 11, 22), &SitePatterns::default());
    assert_eq!(reading.raw, scan);
    if let Some(error) = &reading.error {
        assert!(reading.elements.is_empty());
        let [start, end] = error.at.unwrap_or_default();
        assert!(start <= end && end <= reading.data().len());
    }
});
