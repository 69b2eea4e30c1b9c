//! `lotgate doctor [--json]`: everything that the station needs, checked one by one; works beside the agent.

use super::{Exit, Failure, Site, chain, language, print_json, system_clock};
use lotgate_devices::binding::{PortSelector, ScannerBinding};
use lotgate_devices::event::DeviceState;
use lotgate_domain::protocol::{CloudApi as _, HeadReply};
use lotgate_sync::clock::Clock;
use lotgate_sync::http::{HttpCloud, HttpOptions, Proxy, RequestKeys};
use lotgate_sync::queue::{QueueView, library_versions};
use lotgate_sync::secure::Secure;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// Wall clocks further apart than this are worth a person's look (PROTOCOL §3, Clock).
const CLOCK_TOLERANCE_MS: i64 = 300_000;

struct Check {
    name: &'static str,
    failed: Option<Failure>,
    detail: String,
}

impl Check {
    fn passed(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, failed: None, detail: detail.into() }
    }

    fn failed(name: &'static str, failure: Failure) -> Self {
        Self { name, detail: failure.detail.clone(), failed: Some(failure) }
    }
}

pub(super) fn run(site: &Site, json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let checks = check(site);
    let first = checks.iter().find_map(|check| check.failed.as_ref()).map(|failure| failure.exit);
    if json {
        let rows: Vec<_> = checks
            .iter()
            .map(|check| {
                let code = check.failed.as_ref().map(|failure| failure.code);
                json!({"check": check.name, "ok": code.is_none(), "code": code,
                       "text": code.map(|code| language().text(code)), "detail": check.detail})
            })
            .collect();
        print_json(out, &json!({"ok": first.is_none(), "checks": rows}))?;
    } else {
        for check in &checks {
            let (mark, words) = match &check.failed {
                None => ("ok", check.detail.clone()),
                Some(f) => ("FAILED", format!("{} ({}) {}", language().text(f.code), f.code, check.detail)),
            };
            writeln!(out, "{mark:>6}  {:<15} {words}", check.name)
                .map_err(|error| Failure::output(&error))?;
        }
    }
    Ok(ExitCode::from(first.unwrap_or(0)))
}

fn check(site: &Site) -> Vec<Check> {
    let libraries = library_versions();
    let mut checks = vec![
        Check::passed("configuration", format!("sha256 {}", site.config.sha256)),
        Check::passed("libraries", format!("SQLite {}, SQLCipher {}", libraries.sqlite, libraries.sqlcipher)),
    ];
    match Secure::view(site.places.clone()) {
        Ok(secure) => {
            checks.push(Check::passed(
                "key store",
                format!("key protection: {}", secure.protection().as_str()),
            ));
            checks.extend(check_queue(site, &secure));
        }
        Err(error) => checks.push(Check::failed("key store", error.into())),
    }
    let agent = running_agent(site);
    checks.extend(site.config.scanners.iter().map(|binding| check_scanner(binding, agent.as_deref())));
    if site.config.scanners.is_empty() {
        checks.push(Check::passed("devices", "none configured"));
    }
    checks
}

fn check_queue(site: &Site, secure: &Secure) -> Vec<Check> {
    let view = match QueueView::open(secure) {
        Ok(view) => view,
        Err(error) => return vec![Check::failed("queue", error.into())],
    };
    let mut checks = vec![match view.state() {
        Ok(state) => Check::passed("queue", format!("{} waiting, head {}", state.queued, state.head.seq)),
        Err(error) => Check::failed("queue", error.into()),
    }];
    checks.push(match view.check_anchor() {
        Ok(()) => Check::passed("anchor", "a whole restored machine can only be found by the cloud"),
        Err(error) => Check::failed("anchor", error.into()),
    });
    let identity = view.identity();
    let keys = RequestKeys {
        tenant: identity.tenant,
        station: identity.station,
        keys: secure.station_keys().signing.clone(),
    };
    checks.extend(check_cloud(site, keys, &view));
    checks
}

/// The pid of the process that holds the queue, if it runs. Its lock is not tried: an agent that starts at
/// this moment would be refused.
fn running_agent(site: &Site) -> Option<String> {
    let pid = std::fs::read_to_string(site.places.data.join("lock.pid")).ok()?;
    let pid = pid.trim().to_owned();
    let running = std::fs::read_link(std::path::Path::new("/proc").join(&pid).join("exe")).ok();
    running.filter(|program| std::env::current_exe().is_ok_and(|own| own == *program)).map(|_| pid)
}

fn check_cloud(site: &Site, keys: RequestKeys, view: &QueueView) -> Vec<Check> {
    let clock: Arc<dyn Clock> = Arc::new(system_clock());
    match ask_head(site, keys, clock.clone()) {
        Err(failure) => vec![Check::failed("cloud", failure)],
        Ok(head) => {
            let apart = clock.read().wall.ms_since(head.time);
            let clock = if apart.abs() <= CLOCK_TOLERANCE_MS {
                Check::passed("clock", format!("{apart} ms from the cloud's (a hint, not a signed time)"))
            } else {
                let failure = Failure::new(Exit::Clock, "clock_differs", format!("{} s", apart / 1000));
                Check::failed("clock", failure)
            };
            let held = format!("holds this station's chain up to {}", head.seq);
            let cloud = match view.holds(&head.head()) {
                Ok(true) => Check::passed("cloud", held),
                Ok(false) => {
                    let failure = Failure::new(Exit::Unreachable, "server_inconsistent", held);
                    Check::failed("cloud", failure)
                }
                Err(error) => Check::failed("cloud", error.into()),
            };
            vec![cloud, clock]
        }
    }
}

fn ask_head(site: &Site, keys: RequestKeys, clock: Arc<dyn Clock>) -> Result<HeadReply, Failure> {
    let options = HttpOptions {
        server: site.server()?,
        ca_file: site.config.ca_file.clone(),
        proxy: Proxy::System,
        clock,
    };
    let cloud = HttpCloud::for_station(options, keys)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::new(Exit::Unreachable, "no_runtime", error.to_string()))?;
    runtime
        .block_on(cloud.head())
        .map_err(|error| Failure::new(Exit::Unreachable, error.code().as_str(), chain(&error)))
}

/// A port that is busy while an agent runs is the agent's.
fn check_scanner(binding: &ScannerBinding, agent: Option<&str>) -> Check {
    let which = match &binding.port {
        PortSelector::Path(path) => path.display().to_string(),
        PortSelector::Usb(usb) => format!("usb {:04x}:{:04x}", usb.vid, usb.pid),
    };
    match (lotgate_devices::serial::try_port(binding), agent) {
        (Ok(device), _) if device.simulated => Check::passed("scanner", format!("{which} (simulated)")),
        (Ok(_), _) => Check::passed("scanner", which),
        (Err(DeviceState::Busy), Some(pid)) => {
            Check::passed("scanner", format!("{which}, in use while the agent runs (pid {pid})"))
        }
        (Err(state), _) => Check::failed("scanner", Failure::new(Exit::DeviceMissing, state.code(), which)),
    }
}
