//! How the cloud says no to a request: every cause, and the one place where it becomes a problem code.

use crate::crypto::SealError;
use crate::database::DatabaseError;
use lotgate_domain::protocol::HeadReply;
use lotgate_domain::protocol::problem::{Problem, ProblemCode};
use lotgate_domain::reference::ReferenceError;
use lotgate_domain::statement::StatementError;

/// Why a request was not done. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The caller is at fault in a way that the code says whole.
    #[error("request rejected: {0:?}")]
    Coded(ProblemCode),
    /// The request is not as specified.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The cloud does not hold what the batch comes after.
    #[error("batch comes after an entry that is not held")]
    HeadMismatch(Box<HeadReply>),
    /// The database failed, or has no connection free.
    #[error("database")]
    Database(#[from] DatabaseError),
    /// A tenant's private key cannot be opened.
    #[error("tenant key")]
    Seal(#[from] SealError),
    /// A statement could not be made.
    #[error("statement")]
    Statement(#[from] StatementError),
    /// Something that a row names is not there.
    #[error("the database holds no {0}")]
    Missing(&'static str),
    /// What the database holds contradicts the ledger's rules.
    #[error("the ledger is not as its rules left it: {0}")]
    Stored(&'static str),
    /// Reference data is not usable.
    #[error("reference data")]
    Reference(#[from] ReferenceError),
    /// A file of an export cannot be written.
    #[error("file")]
    File(#[from] std::io::Error),
    /// The system gives no random bytes, or a worker died.
    #[error("system: {0}")]
    System(&'static str),
}

impl From<ProblemCode> for Rejection {
    fn from(code: ProblemCode) -> Self {
        Self::Coded(code)
    }
}

impl From<tokio_postgres::Error> for Rejection {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

impl Rejection {
    /// How long to wait after `busy` and `rate_limited`, in milliseconds.
    const BUSY_RETRY_MS: u64 = 1_000;

    /// What the caller is told.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Coded(code @ (ProblemCode::Busy | ProblemCode::RateLimited)) => Self::later(*code),
            Self::Coded(code) => Problem::new(*code),
            Self::BadRequest(detail) => Problem::new(ProblemCode::BadRequest).with_detail(*detail),
            Self::HeadMismatch(head) => {
                Problem { head: Some((**head).clone()), ..Problem::new(ProblemCode::HeadMismatch) }
            }
            Self::Reference(error) => Problem::new(ProblemCode::BadRequest).with_detail(error.to_string()),
            Self::Database(error) if error.passes() => Self::later(ProblemCode::Busy),
            Self::Database(_)
            | Self::Seal(_)
            | Self::Statement(_)
            | Self::Missing(_)
            | Self::File(_)
            | Self::Stored(_)
            | Self::System(_) => Problem::new(ProblemCode::Internal),
        }
    }

    fn later(code: ProblemCode) -> Problem {
        Problem { retry_after_ms: Some(Self::BUSY_RETRY_MS), ..Problem::new(code) }
    }
}

/// An error with its causes, on one line, for logs.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
