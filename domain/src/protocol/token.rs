//! The enrolment token: one line, `lgt1.<tenant>.<root fingerprint>.<32 random bytes base64url>` (PROTOCOL §9.9).

use crate::ids::{Hash, TenantId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::str::FromStr;

/// A single-use token that enrols one station.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolToken {
    /// Which tenant it is for.
    pub tenant: TenantId,
    /// What the station trusts: the fingerprint of the tenant's root key.
    pub root_fingerprint: Hash,
    /// The secret part.
    pub secret: [u8; 32],
}

/// The text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an enrolment token (lgt1.<tenant>.<root fingerprint>.<secret>)")]
pub struct ParseTokenError;

impl EnrolToken {
    /// What the cloud keeps of it.
    #[must_use]
    pub fn sha256(&self) -> Hash {
        Hash::of(self.line().as_bytes())
    }

    /// The whole line, without a line end. It holds the secret: never log it.
    #[must_use]
    pub fn line(&self) -> String {
        format!("lgt1.{}.{}.{}", self.tenant, self.root_fingerprint, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

impl FromStr for EnrolToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let mut parts = text.trim_ascii().split('.');
        let (Some("lgt1"), Some(tenant), Some(fingerprint), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseTokenError);
        };
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| ParseTokenError)?;
        Ok(Self {
            tenant: tenant.parse().map_err(|_| ParseTokenError)?,
            root_fingerprint: fingerprint.parse().map_err(|_| ParseTokenError)?,
            secret: secret.try_into().map_err(|_| ParseTokenError)?,
        })
    }
}

impl fmt::Debug for EnrolToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolToken({})", self.tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_its_debug_form_keeps_the_secret() {
        let tenant = TenantId::from_parts(1_700_000_000_000, &[1; 10]);
        let token = EnrolToken { tenant, root_fingerprint: Hash([2; 32]), secret: [3; 32] };
        assert_eq!(format!("{}\n", token.line()).parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains(&URL_SAFE_NO_PAD.encode([3; 32])), "secret in a log line");
        assert!("lgt1.x.y.z".parse::<EnrolToken>().is_err());
        assert!(format!("{}.more", token.line()).parse::<EnrolToken>().is_err());
    }
}
