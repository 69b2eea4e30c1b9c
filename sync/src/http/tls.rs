//! TLS towards the cloud: version 1.3 only, ring, roots of the system or of one file, dates judged at the
//! station's trusted time.

use crate::clock::{Clock, ClockMemory};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// More looks than a chain has dates.
const LOOKS: usize = 16;

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

/// The station's time, as far as certificates are concerned.
pub(super) struct StationTime {
    clock: Arc<dyn Clock>,
    memory: Mutex<ClockMemory>,
}

impl StationTime {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, memory: Mutex::default() }
    }

    pub(super) fn remember(&self, memory: ClockMemory) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
    }
}

impl std::fmt::Debug for StationTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StationTime")
    }
}

impl TimeProvider for StationTime {
    fn current_time(&self) -> Option<UnixTime> {
        let memory = *self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let now = memory.certificate_time(&self.clock.read());
        Some(UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.unix_ms()).ok()?)))
    }
}

/// How the station judges servers, in the two ways that it connects.
pub(super) struct Configurations {
    /// For everything.
    pub(super) judged: ClientConfig,
    /// For the one request for a signed time where the dates cannot be judged.
    pub(super) dateless: ClientConfig,
}

/// Trusts what the system trusts, or only the authorities in `ca_file`: with one's own authority there is no
/// reason to trust every other one in the world.
pub(super) fn configurations(
    ca_file: Option<&Path>,
    time: &Arc<StationTime>,
) -> Result<Configurations, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match ca_file {
        Some(path) => {
            let roots = Arc::new(read_roots(path)?);
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|_| TlsSetupError::CaFileInvalid)?
        }
        None => Arc::new(
            rustls_platform_verifier::Verifier::new(Arc::clone(&provider))
                .map_err(|_| TlsSetupError::NoSystemRoots)?,
        ),
    };
    let configure = |verifier: Arc<dyn ServerCertVerifier>| -> Result<ClientConfig, TlsSetupError> {
        let time = Arc::clone(time) as Arc<dyn TimeProvider>;
        let builder = ClientConfig::builder_with_details(Arc::clone(&provider), time)
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        Ok(http1(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
    };
    let mut dateless = configure(Arc::new(Dateless(Arc::clone(&verifier))))?;
    // A session that was begun without looking at dates must never be gone on with.
    dateless.resumption = rustls::client::Resumption::disabled();
    Ok(Configurations { judged: configure(verifier)?, dateless })
}

/// For a server on this machine that is spoken to without TLS: trusts nobody.
pub(super) fn no_tls() -> Result<Configurations, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(RootCertStore::empty());
    let none = http1(builder.with_no_client_auth());
    Ok(Configurations { judged: none.clone(), dateless: none })
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

/// Judges chain and name as ever, at a time at which all certificates of the chain are valid: each refusal for
/// a date names that date, and the next look is made there. A chain of which no two certificates were ever
/// valid together finds no such time.
#[derive(Debug)]
struct Dateless(Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for Dateless {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let look =
            |now| self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let mut verified = look(now);
        for _ in 0..LOOKS {
            let valid_at = match &verified {
                Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                    not_after,
                    ..
                })) => *not_after,
                Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) => *not_before,
                _ => break,
            };
            verified = look(valid_at);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
