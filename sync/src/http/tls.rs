//! TLS towards the cloud: version 1.3 only, ring, roots of the system or of one file.

use crate::clock::Clock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Why no TLS configuration could be made.
#[derive(Debug)]
pub(super) enum TlsSetupError {
    CaFileUnreadable(std::io::Error),
    CaFileInvalid,
    NoSystemRoots,
    Rustls(rustls::Error),
}

impl From<rustls::Error> for TlsSetupError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

/// Certificate dates are judged by the clock that the rest of the program uses.
#[derive(Debug)]
struct StationTime(ClockHandle);

struct ClockHandle(Arc<dyn Clock>);

impl std::fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl TimeProvider for StationTime {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.0.0.read().wall.unix_ms()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

/// Trusts what the system trusts, or only the authorities in `ca_file`: with one's own authority there is no
/// reason to trust every other one in the world.
pub(super) fn client_config(
    ca_file: Option<&Path>,
    clock: &Arc<dyn Clock>,
) -> Result<ClientConfig, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let time = Arc::new(StationTime(ClockHandle(Arc::clone(clock))));
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), time)
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match ca_file {
        Some(path) => builder.with_root_certificates(read_roots(path)?),
        None => {
            let verifier = rustls_platform_verifier::Verifier::new(provider)
                .map_err(|_| TlsSetupError::NoSystemRoots)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    Ok(http1(builder.with_no_client_auth()))
}

/// For a server on this machine that is spoken to without TLS: trusts nobody.
pub(super) fn no_tls() -> Result<ClientConfig, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(RootCertStore::empty());
    Ok(http1(builder.with_no_client_auth()))
}

fn http1(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsSetupError> {
    let pem = std::fs::read(path).map_err(TlsSetupError::CaFileUnreadable)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| TlsSetupError::CaFileInvalid)?;
        roots.add(certificate).map_err(|_| TlsSetupError::CaFileInvalid)?;
    }
    if roots.is_empty() { Err(TlsSetupError::CaFileInvalid) } else { Ok(roots) }
}
