//! Every sentence that can stand in the band or on the fault screen, in the layout of another scene.

use super::scan::{refused, unknown, with};
use super::site::{LONGEST, ago};
use super::{Scene, scene};
use lotgate_domain::barcode::ErrorCode;
use lotgate_domain::lot::ScanRefusal;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::reference::LotStatus;
use lotgate_station::screen::{Act, EnrolNow, FaultNow, Page, Phase};
use lotgate_sync::engine::failure::{
    FailureCode, InconsistencyCode, LinkCode, QueueCode, ReplyCode, TlsCode,
};

/// Why a station does not come up, or stops: of the queue, its keys, the configuration.
const FAULTS: [&str; 35] = [
    "already_enrolled",
    "anchor",
    "config_invalid_value",
    "config_malformed",
    "config_missing_key",
    "config_unknown_key",
    "config_unreadable",
    "damaged",
    "device_thread",
    "directories_not_apart",
    "directory_missing",
    "disk_full",
    "disk_io",
    "foreign",
    "key_mismatch",
    "key_store",
    "key_store_changed",
    "key_store_malformed",
    "key_store_mismatch",
    "key_store_missing",
    "key_store_probe",
    "locked",
    "lost",
    "newer_version",
    "no_random",
    "not_encrypted",
    "not_in_this_version",
    "rolled_back",
    "sqlite_setting",
    "sqlite_too_old",
    "station_retired",
    "system_key_store",
    "unknown_outcome",
    "wrong_permissions",
    "wrong_user",
];

const NOT_KEPT: [&str; 8] = [
    "closed",
    "damaged",
    "disk_full",
    "disk_io",
    "disk_very_low",
    "invalid_operation",
    "queue_full",
    "unknown_outcome",
];

const DEVICE_STATES: [&str; 6] =
    ["ambiguous_device", "busy_device", "denied", "missing", "unplugged", "unusable"];

const DEVICE_FAULTS: [&str; 5] =
    ["overrun", "scan_interrupted", "scan_too_long", "scan_unterminated", "scan_without_start"];

/// Why there is no label.
const NO_LABEL: [&str; 14] = [
    "label_ambiguous",
    "label_character",
    "label_expiry",
    "label_gtin",
    "label_lot_not_gs1",
    "label_lot_too_long",
    "label_missing",
    "label_needs_gtin",
    "label_question_open",
    "label_queue_full",
    "label_serial",
    "label_too_long",
    "label_unknown",
    "no_printer",
];

/// Why nothing is sent, besides the cloud's own words.
const FAILURES: [FailureCode; 31] = [
    FailureCode::Link(LinkCode::ConnectionRefused),
    FailureCode::Link(LinkCode::NetworkUnreachable),
    FailureCode::Link(LinkCode::NameNotFound),
    FailureCode::Link(LinkCode::ConnectTimedOut),
    FailureCode::Link(LinkCode::TimedOut),
    FailureCode::Link(LinkCode::ConnectionLost),
    FailureCode::Tls(TlsCode::WrongCertificate),
    FailureCode::Tls(TlsCode::WrongName),
    FailureCode::Tls(TlsCode::CertificateExpired),
    FailureCode::Tls(TlsCode::CertificateNotYetValid),
    FailureCode::Tls(TlsCode::TlsFailed),
    FailureCode::Reply(ReplyCode::Redirected),
    FailureCode::Reply(ReplyCode::UnexpectedStatus),
    FailureCode::Reply(ReplyCode::ReplyInvalid),
    FailureCode::Reply(ReplyCode::ReplyTooLarge),
    FailureCode::Inconsistent(InconsistencyCode::ReceiptInvalid),
    FailureCode::Inconsistent(InconsistencyCode::ReceiptUnknownEntry),
    FailureCode::Inconsistent(InconsistencyCode::ReceiptMissing),
    FailureCode::Inconsistent(InconsistencyCode::VerdictInvalid),
    FailureCode::Inconsistent(InconsistencyCode::AcceptedUnknown),
    FailureCode::Inconsistent(InconsistencyCode::CloudAhead),
    FailureCode::Inconsistent(InconsistencyCode::FeedInvalid),
    FailureCode::Inconsistent(InconsistencyCode::FeedWentBack),
    FailureCode::Inconsistent(InconsistencyCode::FeedBroken),
    FailureCode::Inconsistent(InconsistencyCode::PageInvalid),
    FailureCode::Inconsistent(InconsistencyCode::ProofInvalid),
    FailureCode::Inconsistent(InconsistencyCode::LogWentBack),
    FailureCode::Inconsistent(InconsistencyCode::LogRewritten),
    FailureCode::Queue(QueueCode::QueueUnreadable),
    FailureCode::Queue(QueueCode::QueueDamaged),
    FailureCode::Queue(QueueCode::QueueUnwritable),
];

/// Why an enrolment fails besides the cloud's own words.
const ENROL: [&str; 12] = [
    "connect_timed_out",
    "connection_lost",
    "connection_refused",
    "key_store",
    "name_not_found",
    "network_unreachable",
    "reply_invalid",
    "timed_out",
    "tls_failed",
    "untrusted_cloud",
    "wrong_certificate",
    "wrong_name",
];

pub(super) fn scenes() -> Vec<Scene> {
    let values = &LONGEST;
    let mut scenes = Vec::new();
    let mut add = |kind: &str, code: &str, act: Act| {
        scenes.push(scene(&format!("words-{kind}-{code}"), "", &with(values.known(), act)));
    };
    for code in ErrorCode::ALL.map(ErrorCode::as_str) {
        add("scan", code, Act::Scan(Box::new(unknown(values, code))));
    }
    for code in ScanRefusal::BESIDES_BARCODE.map(ScanRefusal::code) {
        add("scan", code, Act::Scan(Box::new(refused(values, code, 8, LotStatus::Hold))));
    }
    for code in NOT_KEPT {
        add("not-kept", code, Act::NotKept { code, at: ago(2) });
    }
    for code in DEVICE_STATES {
        add("device", code, Act::DeviceAway { id: values.scanner_id.to_owned(), code, at: ago(2) });
    }
    for code in DEVICE_FAULTS {
        add("device", code, Act::DeviceFault { id: values.scanner_id.to_owned(), code, at: ago(2) });
    }
    for code in NO_LABEL {
        add("no-label", code, Act::NoLabel { code, at: ago(2) });
    }
    for failure in ProblemCode::ALL.map(FailureCode::Rejected).into_iter().chain(FAILURES) {
        let mut known = values.known_with(|works| {
            values.offline(works, failure.class().into());
            works.sync.engine.failure = Some(failure);
        });
        known.page = Page::Devices;
        scenes.push(scene(&format!("words-network-{}", failure.as_str()), "", &known));
    }
    for code in FAULTS {
        let detail = "/var/lib/lotgate/station.toml".to_owned();
        let known = values.knows(Phase::Fault(FaultNow { code, detail, since: ago(31) }));
        scenes.push(scene(&format!("words-fault-{code}"), "", &known));
    }
    for code in ProblemCode::ALL.map(ProblemCode::as_str).into_iter().chain(ENROL) {
        let enrol = EnrolNow { server: Some(values.server.to_owned()), ..EnrolNow::default() };
        let known = with(values.knows(Phase::Enrol(enrol)), Act::EnrolFailed { code, at: ago(2) });
        scenes.push(scene(&format!("words-enrol-{code}"), "", &known));
    }
    for scene in &mut scenes {
        scene.words_only = true;
        scene.name = scene.name.replace('_', "-");
    }
    scenes
}
