//! `lotgate enrol`: makes this machine a station, or says why not; a failed one can be repeated.

use super::site::{SERVER_FILE, Site, shared_clock};
use super::{Exit, Failure, chain, print_json, refuse_retired, runtime};
use crate::enrol::{EnrolError, Enrolment};
use clap::Args;
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_sync::engine::failure::FailureClass;
use lotgate_sync::http::{CallError, HttpCloud};
use lotgate_sync::queue::{Queue, QueueView};
use lotgate_sync::secure::{Places, Secure, SystemRandom};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file with the enrolment token.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
}

pub(super) fn run(site: &Site, arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode, Failure> {
    site.server()?;
    let token = read_token(&arguments.token_file)?;
    let enrolled = runtime()?.block_on(async {
        let queue = enrol_here(site, token).await?;
        let identity = queue.identity().clone();
        queue.close().await?;
        Ok::<_, Failure>(json!({
            "tenant": identity.tenant,
            "site": identity.site,
            "station": identity.station,
            "station_name": identity.station_name,
            "training": identity.certificate.value.training,
            "root_fingerprint": identity.root_fingerprint,
            "key_protection": identity.key_protection.as_str(),
        }))
    })?;
    print_json(out, &enrolled)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes this machine a station; returns its new queue, open. A failed one can be repeated with the same token.
pub(crate) async fn enrol_here(site: &Site, token: EnrolToken) -> Result<Queue, Failure> {
    let server = site.server()?;
    refuse_retired(&site.places)?;
    refuse_second_enrolment(&site.places)?;
    let clock = shared_clock();
    let cloud = HttpCloud::for_enrolment(site.http(clock.clone())?)?;
    let secure = Secure::prepare(site.places.clone(), &SystemRandom)?;
    // Before the request: once the cloud has answered, the station must find it again.
    site.places
        .storage
        .write_durably(&site.places.data, SERVER_FILE, server.as_bytes())
        .map_err(|error| Failure::new(Exit::KeyStore, "key_store", error.to_string()))?;
    let enrolment = Enrolment {
        token,
        station_name: site.config.station_name.clone(),
        secure,
        clock,
        random: Arc::new(SystemRandom),
        program: site.program(),
    };
    Ok(crate::enrol::enrol(enrolment, &cloud).await?)
}

fn read_token(file: &std::path::Path) -> Result<EnrolToken, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Usage, "token_unreadable", format!("{shown}: {error}")))?;
    text.parse().map_err(|error| Failure::new(Exit::Usage, "token_malformed", format!("{shown}: {error}")))
}

/// A station stays what it is: its queue may hold what nobody else has (DEP-2).
fn refuse_second_enrolment(places: &Places) -> Result<(), Failure> {
    if !places.queue_file().exists() {
        return Ok(());
    }
    let secure = Secure::view(places.clone())?;
    let view = QueueView::open(&secure)?;
    let queued = view.state()?.queued;
    let station = view.identity().station.to_string();
    Err(if queued > 0 {
        let detail = format!("station {station}: {queued} operations");
        Failure::new(Exit::BlockedByUnsynced, "blocked_by_unsynced_queue", detail)
    } else {
        Failure::new(Exit::Usage, "already_enrolled", format!("station {station}"))
    })
}

impl From<EnrolError<CallError>> for Failure {
    fn from(error: EnrolError<CallError>) -> Self {
        match &error {
            EnrolError::Cloud(call) => {
                let exit = match call.class() {
                    FailureClass::OwnQueueFault => Exit::Queue,
                    FailureClass::Offline
                    | FailureClass::Unreachable
                    | FailureClass::Unauthorised
                    | FailureClass::RequestRefused
                    | FailureClass::ServerInconsistent => Exit::Unreachable,
                };
                Self::new(exit, call.code().as_str(), chain(&error))
            }
            EnrolError::Identity(_) => Self::new(Exit::Unreachable, "untrusted_cloud", chain(&error)),
            EnrolError::Queue(open) => {
                Self { exit: open.exit_code(), code: open.code(), detail: chain(&error), config: None }
            }
        }
    }
}
