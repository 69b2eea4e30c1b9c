//! Any bytes where entries are due: what is understood of one says, written again, the same bytes.
#![no_main]

use std::sync::LazyLock;

use lotgate_domain::canonical;
use lotgate_domain::chain::Head;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Hash, PublicKey, SiteId, StationId, TenantId};
use lotgate_domain::ledger::{Station, prefix};
use lotgate_domain::operation::{self, Content};

/// The station that the seeds name; no key is needed, since the signature check is a stand-in.
static STATION: LazyLock<Station> = LazyLock::new(|| Station {
    tenant: TenantId::from_parts(1, &[1; 10]),
    site: SiteId::from_parts(2, &[2; 10]),
    id: StationId::from_parts(3, &[3; 10]),
    key: PublicKey([4; 32]),
    certificate: Hash([5; 32]),
    former: Vec::new(),
    training: true,
    closed: None,
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok((frame, after)) = Frame::split_first(rest) {
        assert_eq!(frame.bytes().len() + after.len(), rest.len(), "no byte is lost or read twice");
        check(&frame);
        rest = after;
    }
    // The same bytes as the JSON of a frame, so that mutations of the JSON keep its length right.
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    if let Ok(frame) = Frame::read(&[&len, data, &[0; 64]].concat()) {
        check(&frame);
    }
});

fn check(frame: &Frame<'_>) {
    let checked = prefix::check(frame, &STATION, |_, station| Some(station.key));
    let Ok(read) = operation::read(frame) else {
        assert!(checked.is_err(), "an envelope that cannot be read ends the prefix");
        return;
    };
    let again = match &read.content {
        Content::Known(operation) => canonical::write(operation.as_ref()),
        Content::Body(operation, _) => canonical::write(operation.as_ref()),
        Content::LaterVersion => return,
    };
    assert_eq!(again.ok().as_deref(), Some(frame.json()), "signed bytes have one meaning and one spelling");
    if let Ok(entry) = checked {
        assert_eq!(entry.bytes, frame.bytes());
        let start = Head::genesis(STATION.certificate);
        if let Ok(head) = start.follow(STATION.certificate, &read.header, read.hash) {
            assert_eq!((head.seq, head.hash), (1, frame.hash()), "a chain begins with its first entry");
        }
    }
}
