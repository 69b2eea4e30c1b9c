//! Bodies about labels, for the golden file.

use jiff::civil::date;
use lotgate_domain::ids::{Hash, OperationId};
use lotgate_domain::operation::body::{
    Body, Device, Element, JobState, LabelQueued, LabelState, SnapshotLot,
};
use lotgate_domain::reference::LotStatus;

fn id(n: u8) -> OperationId {
    OperationId::from_parts(1_763_809_445_123, &[n; 10])
}

/// The original of a lot that expires, or a copy of one that does not.
pub fn queued(copy: bool) -> Body {
    let elements = [("01", "09506000134352"), ("10", "LOT-7/ü"), ("21", "0123456789ABC")];
    Body::LabelQueued(LabelQueued {
        printer: Device {
            role: "printer".to_owned(),
            transport: "tcp".to_owned(),
            id: "tcp:10.1.4.20:9100".to_owned(),
            simulated: copy,
        },
        template: "container/1".to_owned(),
        language: if copy { "de" } else { "en" }.to_owned(),
        scan: id(9),
        item: "API-100".to_owned(),
        lot: "LOT-7/ü".to_owned(),
        snapshot_lot: SnapshotLot {
            status: LotStatus::Released,
            expiry: (!copy).then_some(date(2027, 12, 31)),
        },
        serial: "0123456789ABC".to_owned(),
        copy: if copy { 2 } else { 1 },
        of: copy.then(|| id(10)),
        elements: elements.map(|(ai, value)| Element { ai: ai.to_owned(), value: value.to_owned() }).to_vec(),
        sha256: Hash::of(b"^XA^XZ"),
        bytes: 6,
    })
}

pub fn state(state: JobState, evidence: Option<&str>, cause: Option<&str>) -> Body {
    let (evidence, cause) = (evidence.map(str::to_owned), cause.map(str::to_owned));
    Body::LabelState(LabelState { job: id(10), state, evidence, cause })
}
