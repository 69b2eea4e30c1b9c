//! Ed25519 with separated contexts, and the one strict verification function (PROTOCOL §1).

use crate::ids::{PublicKey, Signature};
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

mod strict;
pub use strict::PreparedKey;

/// What kind of bytes a signature is over. Each has its own prefix, so that none can stand for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// An operation, by its station.
    Operation,
    /// A person's electronic signature.
    Esig,
    /// A certificate.
    Certificate,
    /// A receipt.
    Receipt,
    /// A verdict batch.
    Verdict,
    /// A page of reference data.
    Feed,
    /// The cloud's time.
    Time,
    /// That a chain was found to have two branches.
    Fork,
    /// That the log was restored from a backup.
    Recovered,
    /// That a station was retired or revoked.
    Retired,
    /// That a key was replaced.
    Rotated,
    /// The manifest of an export.
    Export,
    /// A station's proof of possession, at enrolment and when its key is replaced.
    Enrol,
}

impl Context {
    /// Every context.
    pub const ALL: [Self; 13] = [
        Self::Operation,
        Self::Esig,
        Self::Certificate,
        Self::Receipt,
        Self::Verdict,
        Self::Feed,
        Self::Time,
        Self::Fork,
        Self::Recovered,
        Self::Retired,
        Self::Rotated,
        Self::Export,
        Self::Enrol,
    ];

    /// The prefix (PROTOCOL §9.7); one zero byte follows it.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Operation => "lotgate/op/v1",
            Self::Esig => "lotgate/esig/v1",
            Self::Certificate => "lotgate/cert/v1",
            Self::Receipt => "lotgate/receipt/v1",
            Self::Verdict => "lotgate/verdict/v1",
            Self::Feed => "lotgate/feed/v1",
            Self::Time => "lotgate/time/v1",
            Self::Fork => "lotgate/fork/v1",
            Self::Recovered => "lotgate/recovered/v1",
            Self::Retired => "lotgate/retired/v1",
            Self::Rotated => "lotgate/rotated/v1",
            Self::Export => "lotgate/export/v1",
            Self::Enrol => "lotgate/enrol/v1",
        }
    }

    /// prefix ‖ 0x00 ‖ message: the bytes that are signed.
    #[must_use]
    pub fn message(self, message: &[u8]) -> Vec<u8> {
        self.parts(message).concat()
    }

    const fn parts(self, message: &[u8]) -> [&[u8]; 3] {
        [self.prefix().as_bytes(), &[0], message]
    }
}

/// An Ed25519 key pair; the seed is wiped when it is dropped.
pub struct KeyPair(SigningKey);

impl KeyPair {
    /// The pair of a 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for wrapping under another key.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` in `context`.
    #[must_use]
    pub fn sign(&self, context: Context, message: &[u8]) -> Signature {
        self.sign_bytes(&context.message(message))
    }

    /// Signs bytes that carry their own domain separation: an RFC 9421 signature base.
    #[must_use]
    pub fn sign_bytes(&self, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(bytes).to_bytes())
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.public().key_id())
    }
}

/// The signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct BadSignature;

/// Verifies `signature` over `message` in `context`, as [`verify_bytes`] does.
///
/// # Errors
/// [`BadSignature`].
pub fn verify(
    key: &PublicKey,
    context: Context,
    message: &[u8],
    signature: &Signature,
) -> Result<(), BadSignature> {
    strict::verify(key, &context.parts(message), signature)
}

/// The one verification function, for every signature everywhere: RFC 8032 §5.1.7 without the cofactor,
/// S below the group order, A and R in canonical encoding and not of small order. k is the SHA-512 reduced by the
/// group order before it is multiplied with A, which decides where A has a small-order component.
///
/// # Errors
/// [`BadSignature`] if any of that does not hold.
pub fn verify_bytes(key: &PublicKey, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    strict::verify(key, &[bytes], signature)
}
