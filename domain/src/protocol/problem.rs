//! Rejections: how the cloud says no to a request, never to a signed operation (PROTOCOL §9.19).

use super::HeadReply;
use serde::{Deserialize, Serialize};

/// The closed list of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The request is not as specified.
    BadRequest,
    /// The body is not the one that the digest names.
    DigestMismatch,
    /// No challenge nonce; repeat with the one in the reply.
    NonceRequired,
    /// The nonce is too old, or not ours.
    NonceExpired,
    /// The request's signature does not verify.
    BadSignature,
    /// No such key.
    UnknownKey,
    /// The enrolment token was used with another key.
    TokenUsed,
    /// The enrolment token is too old, or not known.
    TokenExpired,
    /// The station was revoked.
    Revoked,
    /// No such route.
    UnknownRoute,
    /// The cloud does not hold what the batch comes after; its head is in the reply.
    HeadMismatch,
    /// The batch is too large.
    TooLarge,
    /// The program is too old for this; never said to a push.
    TooOld,
    /// Too many requests.
    RateLimited,
    /// Not now.
    Busy,
    /// A fault of the cloud.
    Internal,
}

impl ProblemCode {
    /// Every code.
    pub const ALL: [Self; 16] = [
        Self::BadRequest,
        Self::DigestMismatch,
        Self::NonceRequired,
        Self::NonceExpired,
        Self::BadSignature,
        Self::UnknownKey,
        Self::TokenUsed,
        Self::TokenExpired,
        Self::Revoked,
        Self::UnknownRoute,
        Self::HeadMismatch,
        Self::TooLarge,
        Self::TooOld,
        Self::RateLimited,
        Self::Busy,
        Self::Internal,
    ];

    /// The HTTP status that goes with the code.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::DigestMismatch => 400,
            Self::NonceRequired | Self::NonceExpired | Self::BadSignature | Self::UnknownKey => 401,
            Self::TokenUsed | Self::TokenExpired | Self::Revoked => 403,
            Self::UnknownRoute => 404,
            Self::HeadMismatch => 409,
            Self::TooLarge => 413,
            Self::TooOld => 426,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::Busy => 503,
        }
    }

    /// The code as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::DigestMismatch => "digest_mismatch",
            Self::NonceRequired => "nonce_required",
            Self::NonceExpired => "nonce_expired",
            Self::BadSignature => "bad_signature",
            Self::UnknownKey => "unknown_key",
            Self::TokenUsed => "token_used",
            Self::TokenExpired => "token_expired",
            Self::Revoked => "revoked",
            Self::UnknownRoute => "unknown_route",
            Self::HeadMismatch => "head_mismatch",
            Self::TooLarge => "too_large",
            Self::TooOld => "too_old",
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::Internal => "internal",
        }
    }
}

/// Body of a reply that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub code: ProblemCode,
    /// How long to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The cloud's head, with `head_mismatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadReply>,
    /// For logs, never for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Problem {
    /// A problem that is only its code.
    #[must_use]
    pub const fn new(code: ProblemCode) -> Self {
        Self { code, retry_after_ms: None, head: None, detail: None }
    }

    /// The same with words for the log.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl From<ProblemCode> for Problem {
    fn from(code: ProblemCode) -> Self {
        Self::new(code)
    }
}
