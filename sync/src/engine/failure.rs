//! Why a call to the cloud brought nothing, as closed codes with their classes (PROTOCOL §6).

use lotgate_domain::protocol::HeadReply;
use lotgate_domain::protocol::problem::ProblemCode;
use serde::{Deserialize, Serialize, Serializer};

/// What a person reads first about a failure; the [`FailureCode`] says which one exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// No connection to the cloud's address. Nothing to do but look at the cable.
    Offline,
    /// Something is at the address, but no answer of the cloud came: time-out, wrong certificate, another
    /// program answers, the cloud is overloaded.
    Unreachable,
    /// The cloud does not take this station for who it says it is, or does not let it in.
    Unauthorised,
    /// The cloud says no to the request.
    RequestRefused,
    /// What the cloud says does not verify, or contradicts what it said before.
    ServerInconsistent,
    /// The station's own queue could not be read or written.
    OwnQueueFault,
}

/// No bytes of an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkCode {
    /// Nobody listens at the address.
    ConnectionRefused,
    /// There is no way to the address.
    NetworkUnreachable,
    /// The server's name has no address.
    NameNotFound,
    /// No connection within its time.
    ConnectTimedOut,
    /// A connection, but no whole answer within its time.
    TimedOut,
    /// The connection ended before the answer did.
    ConnectionLost,
}

/// No trusted connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsCode {
    /// The certificate does not lead to an authority that the station trusts.
    WrongCertificate,
    /// The certificate is for another name.
    WrongName,
    /// The certificate has ended by the station's clock.
    CertificateExpired,
    /// The certificate has not begun by the station's clock.
    CertificateNotYetValid,
    /// The two sides did not agree on TLS 1.3, or the other side does not speak TLS.
    TlsFailed,
}

/// An answer came that the cloud does not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyCode {
    /// A redirect; none is ever followed.
    Redirected,
    /// A status without one of the cloud's codes: a gateway or a captive portal.
    UnexpectedStatus,
    /// A body that is not as specified.
    ReplyInvalid,
    /// A body longer than it may be.
    ReplyTooLarge,
}

/// The cloud contradicts itself or its signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InconsistencyCode {
    /// A receipt does not verify, or is for another station.
    ReceiptInvalid,
    /// A receipt names an entry that this station did not write.
    ReceiptUnknownEntry,
    /// A receipt is missing, or does not cover what the reply says was accepted.
    ReceiptMissing,
    /// A verdict statement does not verify.
    VerdictInvalid,
    /// The reply names as accepted an entry that this station did not write, or less than was pushed
    /// without saying why.
    AcceptedUnknown,
    /// The cloud holds entries that this queue does not: one of the two was restored from a copy.
    CloudAhead,
    /// A feed statement does not verify, or is for another site.
    FeedInvalid,
    /// The feed's cursor or time went back, or its hash changed at the same cursor.
    FeedWentBack,
    /// A page does not continue the feed's hash.
    FeedBroken,
    /// A page is signed but cannot be read.
    PageInvalid,
    /// A proof that entries or verdicts stand in the log does not verify.
    ProofInvalid,
    /// The log is smaller than what the station has verified before, and nobody signed for that.
    LogWentBack,
    /// The log does not begin with what the station has verified before.
    LogRewritten,
    /// A time does not verify, or is not the answer to this station's question.
    TimeInvalid,
    /// The certificates for a new key do not verify.
    CertificatesInvalid,
    /// The cloud says that it kept less evidence than it was given.
    EvidenceNotKept,
}

/// The station's own queue failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueCode {
    /// Entries could not be read.
    QueueUnreadable,
    /// An entry is not what was written; it is not sent.
    QueueDamaged,
    /// A receipt or a page could not be stored.
    QueueUnwritable,
}

/// Exactly what went wrong; serialised as its snake-case text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCode {
    /// No bytes of an answer came.
    Link(LinkCode),
    /// No trusted connection came about.
    Tls(TlsCode),
    /// The cloud's own rejection.
    Rejected(ProblemCode),
    /// An answer came that the cloud does not give.
    Reply(ReplyCode),
    /// The cloud contradicts itself or its signatures.
    Inconsistent(InconsistencyCode),
    /// The station's own queue failed.
    Queue(QueueCode),
}

/// A call that brought nothing, as the engine needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub code: FailureCode,
    /// How long the cloud asks to wait, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// The cloud's head, with `head_mismatch`.
    pub head: Option<Box<HeadReply>>,
}

/// How far a failure reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// No connection: every call would fail, and a bare connect tells when that ends.
    Connection,
    /// A connection, then no answer: as [`Scope::Connection`], and it may be this call's fault.
    Answer,
    /// The server's certificate is not valid by the station's time: a signed time may help.
    Dates,
    /// The cloud answers and asks everybody to wait, or knows the station not at all.
    Everything,
    /// This call only; the others go on.
    Call,
}

impl FailureCode {
    /// What a person reads first.
    #[must_use]
    pub const fn class(self) -> FailureClass {
        match self {
            Self::Link(LinkCode::TimedOut | LinkCode::ConnectionLost) | Self::Tls(_) | Self::Reply(_) => {
                FailureClass::Unreachable
            }
            Self::Link(_) => FailureClass::Offline,
            Self::Rejected(code) => match code {
                ProblemCode::RateLimited | ProblemCode::Busy | ProblemCode::Internal => {
                    FailureClass::Unreachable
                }
                ProblemCode::NonceRequired
                | ProblemCode::NonceExpired
                | ProblemCode::BadSignature
                | ProblemCode::UnknownKey
                | ProblemCode::TokenUsed
                | ProblemCode::TokenExpired
                | ProblemCode::Revoked => FailureClass::Unauthorised,
                ProblemCode::BadRequest
                | ProblemCode::DigestMismatch
                | ProblemCode::UnknownRoute
                | ProblemCode::HeadMismatch
                | ProblemCode::TooLarge
                | ProblemCode::TooOld => FailureClass::RequestRefused,
            },
            Self::Inconsistent(_) => FailureClass::ServerInconsistent,
            Self::Queue(_) => FailureClass::OwnQueueFault,
        }
    }

    /// The code as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link(code) => match code {
                LinkCode::ConnectionRefused => "connection_refused",
                LinkCode::NetworkUnreachable => "network_unreachable",
                LinkCode::NameNotFound => "name_not_found",
                LinkCode::ConnectTimedOut => "connect_timed_out",
                LinkCode::TimedOut => "timed_out",
                LinkCode::ConnectionLost => "connection_lost",
            },
            Self::Tls(code) => match code {
                TlsCode::WrongCertificate => "wrong_certificate",
                TlsCode::WrongName => "wrong_name",
                TlsCode::CertificateExpired => "certificate_expired",
                TlsCode::CertificateNotYetValid => "certificate_not_yet_valid",
                TlsCode::TlsFailed => "tls_failed",
            },
            Self::Rejected(code) => code.as_str(),
            Self::Reply(code) => match code {
                ReplyCode::Redirected => "redirected",
                ReplyCode::UnexpectedStatus => "unexpected_status",
                ReplyCode::ReplyInvalid => "reply_invalid",
                ReplyCode::ReplyTooLarge => "reply_too_large",
            },
            Self::Inconsistent(code) => match code {
                InconsistencyCode::ReceiptInvalid => "receipt_invalid",
                InconsistencyCode::ReceiptUnknownEntry => "receipt_unknown_entry",
                InconsistencyCode::ReceiptMissing => "receipt_missing",
                InconsistencyCode::VerdictInvalid => "verdict_invalid",
                InconsistencyCode::AcceptedUnknown => "accepted_unknown",
                InconsistencyCode::CloudAhead => "cloud_ahead",
                InconsistencyCode::FeedInvalid => "feed_invalid",
                InconsistencyCode::FeedWentBack => "feed_went_back",
                InconsistencyCode::FeedBroken => "feed_broken",
                InconsistencyCode::PageInvalid => "page_invalid",
                InconsistencyCode::ProofInvalid => "proof_invalid",
                InconsistencyCode::LogWentBack => "log_went_back",
                InconsistencyCode::LogRewritten => "log_rewritten",
                InconsistencyCode::TimeInvalid => "time_invalid",
                InconsistencyCode::CertificatesInvalid => "certificates_invalid",
                InconsistencyCode::EvidenceNotKept => "evidence_not_kept",
            },
            Self::Queue(code) => match code {
                QueueCode::QueueUnreadable => "queue_unreadable",
                QueueCode::QueueDamaged => "queue_damaged",
                QueueCode::QueueUnwritable => "queue_unwritable",
            },
        }
    }

    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::Link(LinkCode::TimedOut | LinkCode::ConnectionLost) => Scope::Answer,
            Self::Link(_) => Scope::Connection,
            Self::Tls(TlsCode::CertificateExpired | TlsCode::CertificateNotYetValid) => Scope::Dates,
            Self::Tls(_) => Scope::Everything,
            Self::Rejected(code) => match code {
                ProblemCode::RateLimited
                | ProblemCode::Busy
                | ProblemCode::NonceRequired
                | ProblemCode::NonceExpired
                | ProblemCode::BadSignature
                | ProblemCode::UnknownKey => Scope::Everything,
                ProblemCode::BadRequest
                | ProblemCode::DigestMismatch
                | ProblemCode::TokenUsed
                | ProblemCode::TokenExpired
                | ProblemCode::Revoked
                | ProblemCode::UnknownRoute
                | ProblemCode::HeadMismatch
                | ProblemCode::TooLarge
                | ProblemCode::TooOld
                | ProblemCode::Internal => Scope::Call,
            },
            Self::Reply(_) | Self::Inconsistent(_) | Self::Queue(_) => Scope::Call,
        }
    }

    /// Whether something is wrong behind the address that may be right again at any moment.
    pub(super) const fn is_fault_of_cloud(self) -> bool {
        matches!(
            self,
            Self::Rejected(ProblemCode::Internal | ProblemCode::Busy)
                | Self::Reply(ReplyCode::UnexpectedStatus)
        )
    }

    /// Whether smaller batches may help.
    pub(super) const fn asks_for_less(self) -> bool {
        matches!(
            self,
            Self::Link(LinkCode::TimedOut | LinkCode::ConnectionLost)
                | Self::Rejected(ProblemCode::TooLarge | ProblemCode::RateLimited | ProblemCode::Busy)
                | Self::Reply(ReplyCode::ReplyTooLarge)
        )
    }
}

impl Serialize for FailureCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl std::fmt::Display for FailureCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<FailureCode> for Failure {
    fn from(code: FailureCode) -> Self {
        Self { code, retry_after_ms: None, head: None }
    }
}

impl From<InconsistencyCode> for Failure {
    fn from(code: InconsistencyCode) -> Self {
        FailureCode::Inconsistent(code).into()
    }
}

impl From<QueueCode> for Failure {
    fn from(code: QueueCode) -> Self {
        FailureCode::Queue(code).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_the_same_alone_and_as_part_of_a_failure() {
        fn alone<T: Serialize>(code: T, whole: FailureCode) {
            let alone = serde_json::to_value(code).unwrap();
            assert_eq!(alone, serde_json::to_value(whole).unwrap(), "the catalogue has one key for both");
        }
        use {InconsistencyCode as I, LinkCode as L, QueueCode as Q, ReplyCode as R, TlsCode as T};
        for code in [
            L::ConnectionRefused,
            L::NetworkUnreachable,
            L::NameNotFound,
            L::ConnectTimedOut,
            L::TimedOut,
            L::ConnectionLost,
        ] {
            alone(code, FailureCode::Link(code));
        }
        for code in [
            T::WrongCertificate,
            T::WrongName,
            T::CertificateExpired,
            T::CertificateNotYetValid,
            T::TlsFailed,
        ] {
            alone(code, FailureCode::Tls(code));
        }
        for code in [R::Redirected, R::UnexpectedStatus, R::ReplyInvalid, R::ReplyTooLarge] {
            alone(code, FailureCode::Reply(code));
        }
        for code in [
            I::ReceiptInvalid,
            I::ReceiptUnknownEntry,
            I::ReceiptMissing,
            I::VerdictInvalid,
            I::AcceptedUnknown,
            I::CloudAhead,
            I::FeedInvalid,
            I::FeedWentBack,
            I::FeedBroken,
            I::PageInvalid,
            I::ProofInvalid,
            I::LogWentBack,
            I::LogRewritten,
            I::TimeInvalid,
            I::CertificatesInvalid,
            I::EvidenceNotKept,
        ] {
            alone(code, FailureCode::Inconsistent(code));
        }
        for code in [Q::QueueUnreadable, Q::QueueDamaged, Q::QueueUnwritable] {
            alone(code, FailureCode::Queue(code));
        }
    }
}
