//! Which values a key may have, whatever source it comes from. Each check says in words what is expected.

use super::{KeyStore, WayOut};
use lotgate_domain::text::Language;
use std::net::IpAddr;
use tracing_subscriber::EnvFilter;

/// https anywhere, plain http for loopback only.
pub(super) fn server(server: String) -> Result<String, &'static str> {
    let expected = "expected https://host[:port]; plain http only for loopback";
    if let Some(rest) = server.strip_prefix("https://") {
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let impossible = host.is_empty() || host.contains(['/', '?', '#', '@', ' ']);
        return if impossible { Err(expected) } else { Ok(server) };
    }
    let authority = server.strip_prefix("http://").ok_or(expected)?.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if loopback { Ok(server) } else { Err(expected) }
}

pub(super) fn proxy(proxy: String) -> Result<WayOut, &'static str> {
    match proxy.as_str() {
        "system" => Ok(WayOut::System),
        "none" => Ok(WayOut::Direct),
        url => match url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) {
            Some(rest) if !rest.is_empty() && !rest.contains(' ') => Ok(WayOut::Proxy(proxy)),
            _ => Err("expected \"system\", \"none\" or http://host:port"),
        },
    }
}

pub(super) fn key_store(store: String) -> Result<KeyStore, &'static str> {
    match store.as_str() {
        "automatic" => Ok(KeyStore::Automatic),
        "secret_service" => Ok(KeyStore::SecretService),
        _ => Err("expected \"automatic\" or \"secret_service\""),
    }
}

pub(super) fn language(language: String) -> Result<Language, &'static str> {
    match language.as_str() {
        "en" => Ok(Language::En),
        "de" => Ok(Language::De),
        _ => Err("expected \"en\" or \"de\""),
    }
}

pub(super) fn log(filter: String) -> Result<String, &'static str> {
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(_) => {
            Err("expected a level (error, warn, info, debug, trace), or target=level, with commas between")
        }
    }
}

pub(super) fn lot_prefix(prefixes: Vec<String>) -> Result<Vec<String>, &'static str> {
    if prefixes.iter().any(String::is_empty) { Err("a prefix must not be empty") } else { Ok(prefixes) }
}
