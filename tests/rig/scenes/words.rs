//! Every sentence that can stand in the band or on the fault screen, in the layout of another scene.

use super::scan::{refused, unknown, with};
use super::site::{LONGEST, ago};
use super::{Scene, scene};
use lotgate_domain::barcode::ErrorCode;
use lotgate_domain::lot::ScanRefusal;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::reference::LotStatus;
use lotgate_station::screen::{Act, EnrolNow, FaultNow, Phase};

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
