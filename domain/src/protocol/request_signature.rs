//! Signed requests: RFC 9421 with one fixed list of components (PROTOCOL §9.10).

use crate::ids::{Hash, KeyId, PublicKey, Signature, StationId, TenantId};
use crate::signature::{BadSignature, KeyPair, verify_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What of a request is signed, besides its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedParts<'a> {
    /// `GET`, `POST`.
    pub method: &'a str,
    /// Host in lower case, with the port unless it is the default one.
    pub authority: &'a str,
    /// Path, without the query.
    pub path: &'a str,
    /// Query without its question mark; empty if there is none.
    pub query: &'a str,
    /// Headers of the body, if there is one.
    pub body: Option<BodyParts<'a>>,
}

/// The headers of a body that are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyParts<'a> {
    /// `Content-Digest`, as [`content_digest`] writes it.
    pub content_digest: &'a str,
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Content-Encoding`; empty if there is none.
    pub content_encoding: &'a str,
}

/// Parameters of the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Seconds since 1970, by the station's clock; never judged.
    pub created: i64,
    /// Whose key.
    pub tenant: TenantId,
    /// Whose key.
    pub station: StationId,
    /// Which key.
    pub key: KeyId,
    /// The cloud's challenge; none on the first request of a connection.
    pub nonce: Option<String>,
}

/// The request's signature headers are not as specified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature headers are not as specified")]
pub struct ParseSignatureError;

/// The value of `Content-Digest` for the bytes as sent (RFC 9530).
#[must_use]
pub fn content_digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Hash::of(bytes).0))
}

impl Parameters {
    /// The value of `Signature-Input`.
    #[must_use]
    pub fn signature_input(&self, has_body: bool) -> String {
        format!("lotgate={}", self.inner_list(has_body))
    }

    fn inner_list(&self, has_body: bool) -> String {
        let body = if has_body { r#" "content-digest" "content-type" "content-encoding""# } else { "" };
        let nonce = self.nonce.as_ref().map(|n| format!(r#";nonce="{n}""#)).unwrap_or_default();
        format!(
            r#"("@method" "@authority" "@path" "@query"{body});created={};keyid="{}/{}/{}";alg="ed25519"{nonce};tag="lotgate/v1""#,
            self.created, self.tenant, self.station, self.key
        )
    }

    /// Reads `Signature-Input`. Only the exact form that [`Parameters::signature_input`] writes is taken.
    ///
    /// # Errors
    /// [`ParseSignatureError`].
    pub fn parse(header: &str, has_body: bool) -> Result<Self, ParseSignatureError> {
        let parameter = |name: &str| {
            let (_, rest) = header.split_once(&format!(";{name}="))?;
            Some(rest.split(';').next().unwrap_or(rest))
        };
        let quoted = |name: &str| parameter(name)?.strip_prefix('"')?.strip_suffix('"');
        let parse = || {
            let mut keyid = quoted("keyid")?.split('/');
            let parameters = Self {
                created: parameter("created")?.parse().ok()?,
                tenant: keyid.next()?.parse().ok()?,
                station: keyid.next()?.parse().ok()?,
                key: keyid.next()?.parse().ok()?,
                nonce: quoted("nonce").map(str::to_owned),
            };
            let plain_nonce = parameters.nonce.iter().flat_map(|n| n.bytes()).all(is_base64url);
            (plain_nonce && parameters.signature_input(has_body) == header).then_some(parameters)
        };
        parse().ok_or(ParseSignatureError)
    }

    /// The signature base (RFC 9421 §2.5).
    #[must_use]
    pub fn base(&self, parts: &SignedParts<'_>) -> String {
        let body = parts.body.as_ref().map_or_else(String::new, |body| {
            format!(
                "\"content-digest\": {}\n\"content-type\": {}\n\"content-encoding\": {}\n",
                body.content_digest, body.content_type, body.content_encoding
            )
        });
        format!(
            "\"@method\": {}\n\"@authority\": {}\n\"@path\": {}\n\"@query\": ?{}\n{body}\"@signature-params\": {}",
            parts.method,
            parts.authority,
            parts.path,
            parts.query,
            self.inner_list(parts.body.is_some())
        )
    }

    /// The value of `Signature`.
    #[must_use]
    pub fn sign(&self, parts: &SignedParts<'_>, keys: &KeyPair) -> String {
        let signature = keys.sign_bytes(self.base(parts).as_bytes());
        format!("lotgate=:{}:", STANDARD.encode(signature.0))
    }

    /// Verifies the value of `Signature`.
    ///
    /// # Errors
    /// [`BadSignature`], also for a header of another form.
    pub fn verify(&self, parts: &SignedParts<'_>, header: &str, key: &PublicKey) -> Result<(), BadSignature> {
        let bytes = header
            .strip_prefix("lotgate=:")
            .and_then(|rest| rest.strip_suffix(':'))
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or(BadSignature)?;
        let signature = Signature::from_slice(&bytes).map_err(|_| BadSignature)?;
        verify_bytes(key, self.base(parts).as_bytes(), &signature)
    }
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        let keys = KeyPair::from_seed(&[1; 32]);
        Parameters {
            created: 1_700_000_000,
            tenant: TenantId::from_parts(1, &[1; 10]),
            station: StationId::from_parts(2, &[2; 10]),
            key: keys.public().key_id(),
            nonce: Some("abc_-".to_owned()),
        }
    }

    fn parts<'a>() -> SignedParts<'a> {
        SignedParts { method: "GET", authority: "cloud:1", path: "/v1/head", query: "", body: None }
    }

    #[test]
    fn the_parameters_read_back_and_any_other_form_is_refused() {
        let parameters = parameters();
        for has_body in [false, true] {
            let header = parameters.signature_input(has_body);
            assert_eq!(Parameters::parse(&header, has_body), Ok(parameters.clone()));
            assert!(Parameters::parse(&header, !has_body).is_err(), "components of the other kind");
            assert!(Parameters::parse(&format!("{header};more=1"), has_body).is_err());
            assert!(Parameters::parse(&header.replace("\"@path\" ", ""), has_body).is_err());
        }
    }

    #[test]
    fn a_change_of_any_signed_part_breaks_the_signature() {
        let keys = KeyPair::from_seed(&[1; 32]);
        let (parameters, parts) = (parameters(), parts());
        let header = parameters.sign(&parts, &keys);
        assert_eq!(parameters.verify(&parts, &header, &keys.public()), Ok(()));
        let body = BodyParts { content_digest: "", content_type: "", content_encoding: "" };
        let changed = [
            SignedParts { method: "POST", ..parts.clone() },
            SignedParts { authority: "other:1", ..parts.clone() },
            SignedParts { path: "/v1/feed", ..parts.clone() },
            SignedParts { query: "after=1", ..parts.clone() },
            SignedParts { body: Some(body), ..parts.clone() },
        ];
        for other in changed {
            assert!(parameters.verify(&other, &header, &keys.public()).is_err(), "{other:?}");
        }
        let later = Parameters { nonce: None, ..parameters };
        assert!(later.verify(&parts, &header, &keys.public()).is_err(), "nonce is signed");
    }
}
