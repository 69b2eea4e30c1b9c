//! Any bytes where the cloud's words are due: statements, reference data, tokens, signed requests.
#![no_main]

use lotgate_domain::canonical;
use lotgate_domain::certificate::Certificate;
use lotgate_domain::entry::Frame;
use lotgate_domain::export::Manifest;
use lotgate_domain::ids::{Hash, PublicKey, TenantId};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::protocol::request_signature::Parameters;
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{EnrolReply, HeadReply, PushReply};
use lotgate_domain::reference::Snapshot;
use lotgate_domain::statement::event::{ExportSeal, ForkFound, LogRecovered, StationClosed, TimeStatement};
use lotgate_domain::statement::{FeedPoint, Receipt, VerdictBatch};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(frame) = Frame::read(data) {
        statements(frame.json());
    }
    statements(data);
    replies(data);
    if let Ok(snapshot) = Snapshot::read(data, 1, Hash::ZERO) {
        assert!(snapshot.lot_count() <= data.split(|byte| *byte == b'\n').count(), "a lot a line");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let key = PublicKey([7; 32]);
        assert!(
            Checkpoint::read(text, TenantId::from_parts(1, &[1; 10]), &key).is_err(),
            "nobody has that key"
        );
        lines(text);
    }
});

fn statements(json: &[u8]) {
    let Ok(value) = canonical::read(json) else { return };
    assert_eq!(canonical::write(&value).ok().as_deref(), Some(json), "one spelling");
    drop(canonical::shape::<VerdictBatch>(value.clone()));
    drop(canonical::shape::<Receipt>(value.clone()));
    drop(canonical::shape::<FeedPoint>(value.clone()));
    drop(canonical::shape::<Certificate>(value.clone()));
    drop(canonical::shape::<TimeStatement>(value.clone()));
    drop(canonical::shape::<ForkFound>(value.clone()));
    drop(canonical::shape::<LogRecovered>(value.clone()));
    drop(canonical::shape::<StationClosed>(value.clone()));
    drop(canonical::shape::<ExportSeal>(value.clone()));
    drop(canonical::shape::<Manifest>(value));
}

fn replies(json: &[u8]) {
    if let Ok(reply) = serde_json::from_slice::<HeadReply>(json) {
        let head = reply.head();
        assert_eq!((head.seq, head.hash), (reply.seq, reply.hash));
    }
    drop(serde_json::from_slice::<PushReply>(json));
    drop(serde_json::from_slice::<EnrolReply>(json));
}

fn lines(text: &str) {
    if let Ok(token) = text.parse::<EnrolToken>() {
        assert_eq!(token.line(), text.trim_ascii(), "a token has one spelling");
    }
    for has_body in [false, true] {
        if let Ok(parameters) = Parameters::parse(text, has_body) {
            assert_eq!(parameters.signature_input(has_body), text, "only the exact form is taken");
        }
    }
}
