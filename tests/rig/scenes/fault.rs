//! A station that cannot work.

use super::site::{Values, ago};
use super::{Scene, scene};
use lotgate_station::screen::{FaultNow, Phase};

pub(super) fn scenes(values: &Values) -> Vec<Scene> {
    let detail = match values.suffix {
        "" => "/var/lib/lotgate/secure/station.key: No such file or directory (os error 2)",
        _ => {
            "/var/lib/lotgate/produktion-werk-sued-halle-4/kabine-links-hinten-3/secure/device-secret.key: the \
              Secret Service org.freedesktop.secrets does not answer within 30 s: connection timed out (os error 110)"
        }
    };
    let fault = FaultNow { code: "key_store_missing", detail: detail.to_owned(), since: ago(31) };
    vec![scene("fault", values.suffix, &values.knows(Phase::Fault(fault)))]
}
