//! The way to the cloud, tried once: proxy, TLS, signature, and whether it holds what this queue holds.

use super::super::site::{Site, shared_clock};
use super::super::{Exit, Failure, chain, runtime, system_clock};
use super::Check;
use crate::config::WayOut;
use lotgate_domain::protocol::{CloudApi as _, HeadReply};
use lotgate_sync::clock::Clock as _;
use lotgate_sync::engine::Reach as _;
use lotgate_sync::queue::QueueView;
use lotgate_sync::secure::Secure;

/// Wall clocks further apart than this are worth a person's look (PROTOCOL §3, Clock).
const CLOCK_TOLERANCE_MS: i64 = 300_000;

pub(super) fn check(site: &Site, secure: &Secure, view: &QueueView) -> Vec<Check> {
    let mut checks = vec![Check::ok(
        "proxy",
        match &site.config.proxy {
            WayOut::System => "as the system says".to_owned(),
            WayOut::Direct => "none".to_owned(),
            WayOut::Proxy(_) => {
                let shown = site.config.effective.iter().find(|row| row.key == "cloud.proxy");
                shown.map(|row| row.value.to_string()).unwrap_or_default()
            }
        },
    )];
    match ask(site, secure, view) {
        Err(failure) => checks.push(Check::fail("cloud", failure)),
        Ok(head) => checks.extend(check_head(site, view, &head)),
    }
    checks
}

fn ask(site: &Site, secure: &Secure, view: &QueueView) -> Result<HeadReply, Failure> {
    let identity = view.identity();
    let keys = secure.keys_of(&identity.public_key());
    let keys = keys.ok_or_else(|| Failure::new(Exit::KeyStore, "key_store_missing", "present key"))?;
    let cloud = site.cloud(identity, keys, shared_clock())?;
    // So that a clock that is far off does not make a good certificate look bad.
    cloud.remember_time(view.state()?.clock);
    let asked = runtime()?.block_on(cloud.head());
    asked.map_err(|error| Failure::new(Exit::Unreachable, error.code().as_str(), chain(&error)))
}

fn check_head(site: &Site, view: &QueueView, head: &HeadReply) -> Vec<Check> {
    let server = site.server().unwrap_or_default();
    let tls = if server.starts_with("https://") {
        "TLS 1.3, the certificate is trusted"
    } else {
        "plain http within this machine"
    };
    let held = format!("{server} holds this station's chain up to {}", head.seq);
    let cloud = match view.holds(&head.head()) {
        Ok(true) => Check::ok("cloud", held),
        Ok(false) => Check::fail("cloud", Failure::new(Exit::Unreachable, "cloud_ahead", held)),
        Err(error) => Check::fail("cloud", error.into()),
    };
    let apart = system_clock().read().wall.ms_since(head.time);
    let clock = if apart.abs() <= CLOCK_TOLERANCE_MS {
        Check::ok("cloud_clock", format!("{apart} ms from the cloud's (a hint, not a signed time)"))
    } else {
        Check::fail("cloud_clock", Failure::new(Exit::Clock, "clock_differs", format!("{} s", apart / 1000)))
    };
    vec![cloud, Check::ok("tls", tls), clock]
}
