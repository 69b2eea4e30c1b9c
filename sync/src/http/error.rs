//! Why a call over HTTP brought nothing.

use crate::engine::failure::{Failure, FailureClass, FailureCode, LinkCode, QueueCode, ReplyCode, TlsCode};
use lotgate_domain::protocol::problem::Problem;
use std::error::Error;
use std::io;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No bytes of an answer came.
    #[error("no answer from the cloud ({})", FailureCode::Link(*.code))]
    Link {
        /// How it failed.
        code: LinkCode,
        /// The error below.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// No trusted connection came about.
    #[error("no trusted connection to the cloud ({})", FailureCode::Tls(*.code))]
    Tls {
        /// How it failed.
        code: TlsCode,
        /// The error below.
        #[source]
        source: reqwest::Error,
    },
    /// An answer came that the cloud does not give.
    #[error("not an answer of the cloud ({}, status {status})", FailureCode::Reply(*.code))]
    Reply {
        /// What is wrong with it.
        code: ReplyCode,
        /// The HTTP status.
        status: u16,
        /// How long the answer asks to wait, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// The request could not be written.
    #[error("request could not be written")]
    Request(#[source] std::io::Error),
    /// The cloud's own rejection.
    #[error("the cloud rejected the request ({})", .0.code.as_str())]
    Rejected(Box<Problem>),
}

impl CallError {
    /// Exactly what went wrong.
    #[must_use]
    pub const fn code(&self) -> FailureCode {
        match self {
            Self::Link { code, .. } => FailureCode::Link(*code),
            Self::Tls { code, .. } => FailureCode::Tls(*code),
            Self::Reply { code, .. } => FailureCode::Reply(*code),
            Self::Request(_) => FailureCode::Queue(QueueCode::QueueUnreadable),
            Self::Rejected(problem) => FailureCode::Rejected(problem.code),
        }
    }

    /// What a person reads first.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        self.code().class()
    }

    /// A reply that is not as specified.
    pub(super) const fn reply(code: ReplyCode, status: u16) -> Self {
        Self::Reply { code, status, retry_after_ms: None }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let code = error.code();
        match error {
            CallError::Link { .. } | CallError::Tls { .. } | CallError::Request(_) => code.into(),
            CallError::Reply { retry_after_ms, .. } => Self { code, retry_after_ms, head: None },
            CallError::Rejected(problem) => {
                Self { code, retry_after_ms: problem.retry_after_ms, head: problem.head.map(Box::new) }
            }
        }
    }
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        match root_cause(&error) {
            Some(Cause::Tls(code)) => Self::Tls { code, source: error },
            Some(Cause::Link(code)) if !error.is_timeout() => Self::Link { code, source: Some(error) },
            _ => {
                let code = match (error.is_timeout(), error.is_connect()) {
                    (true, true) => LinkCode::ConnectTimedOut,
                    (true, false) => LinkCode::TimedOut,
                    (false, true) if error.is_dns() => LinkCode::NameNotFound,
                    (false, true) => LinkCode::NetworkUnreachable,
                    (false, false) => LinkCode::ConnectionLost,
                };
                Self::Link { code, source: Some(error) }
            }
        }
    }
}

enum Cause {
    Link(LinkCode),
    Tls(TlsCode),
}

/// The cause deepest below `error` that says what happened. An I/O error keeps the error that it wraps from
/// its `source`, so it is asked for it.
fn root_cause(error: &(dyn Error + 'static)) -> Option<Cause> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(Cause::Tls(tls_code(tls)));
        }
        next = error.source();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            found = link_code(io).map(Cause::Link).or(found);
            next = io.get_ref().map(|inner| inner as &(dyn Error + 'static)).or(next);
        }
    }
    found
}

fn tls_code(error: &rustls::Error) -> TlsCode {
    use rustls::CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            TlsCode::CertificateExpired
        }
        rustls::Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            TlsCode::CertificateNotYetValid
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            TlsCode::WrongName
        }
        rustls::Error::InvalidCertificate(_) => TlsCode::WrongCertificate,
        _ => TlsCode::TlsFailed,
    }
}

fn link_code(error: &io::Error) -> Option<LinkCode> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(LinkCode::ConnectionRefused),
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => Some(LinkCode::NetworkUnreachable),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => Some(LinkCode::ConnectionLost),
        io::ErrorKind::TimedOut => Some(LinkCode::TimedOut),
        _ => None,
    }
}
