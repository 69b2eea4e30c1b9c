//! Reading a request: size, digest over the bytes as sent, the signed parts, and only then decompression
//! (PROTOCOL §9.10, §9.13).

use crate::error::Rejection;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use lotgate_domain::ids::{PublicKey, StationId, TenantId};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::request_signature::{BodyParts, Parameters, SignedParts, content_digest};
use lotgate_domain::protocol::{MAX_DECOMPRESSED, PUSH_CONTENT_TYPE};
use lotgate_domain::signature::BadSignature;
use serde::de::DeserializeOwned;
use std::io::Read as _;
use std::net::IpAddr;
use std::time::Duration;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// How long a caller may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Memory of the decompressor: 2^21 bytes, no more than a body may have.
const WINDOW_LOG_MAX: u32 = 21;

/// The signature of a request with what it is over, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// Whose key, and the nonce.
    pub parameters: Parameters,
    /// Value of `Signature`.
    pub signature: String,
    /// `GET`, `POST`.
    pub method: Method,
    /// Host and port as the caller named them.
    pub authority: String,
    /// Path.
    pub path: String,
    /// Query without its question mark.
    pub query: String,
    /// Headers of the body, if the route has one.
    pub body: Option<SignedBody>,
    /// Where it came from.
    pub address: Option<IpAddr>,
}

/// The headers of a body that are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBody {
    /// `Content-Digest`.
    pub digest: String,
    /// `Content-Type`.
    pub kind: String,
    /// `Content-Encoding`.
    pub encoding: String,
}

impl SignedRequest {
    /// Reads the signed parts. `sent` is the body as sent, for a route that has one; its digest is checked first.
    ///
    /// # Errors
    /// `digest_mismatch`, `bad_request` for headers of the body, `bad_signature` for a missing or other form.
    pub fn read(parts: &Parts, sent: Option<&[u8]>, address: Option<IpAddr>) -> Result<Self, Rejection> {
        let body = sent.map(|sent| SignedBody::read(&parts.headers, sent)).transpose()?;
        let input = single(&parts.headers, &SIGNATURE_INPUT).ok_or(ProblemCode::BadSignature)?;
        let parameters = Parameters::parse(input, body.is_some()).map_err(|_| ProblemCode::BadSignature)?;
        let signature = single(&parts.headers, &SIGNATURE).ok_or(ProblemCode::BadSignature)?;
        Ok(Self {
            parameters,
            signature: signature.to_owned(),
            method: parts.method.clone(),
            authority: authority(parts).ok_or(Rejection::BadRequest("no host"))?,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body,
            address,
        })
    }

    /// Verifies the signature with the station's certified key.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), BadSignature> {
        let parts = SignedParts {
            method: self.method.as_str(),
            authority: &self.authority,
            path: &self.path,
            query: &self.query,
            body: self.body.as_ref().map(|body| BodyParts {
                content_digest: &body.digest,
                content_type: &body.kind,
                content_encoding: &body.encoding,
            }),
        };
        self.parameters.verify(&parts, &self.signature, key)
    }
}

impl SignedBody {
    fn read(headers: &HeaderMap, sent: &[u8]) -> Result<Self, Rejection> {
        let digest = single(headers, &CONTENT_DIGEST).ok_or(Rejection::BadRequest("no content-digest"))?;
        if digest != content_digest(sent) {
            return Err(ProblemCode::DigestMismatch.into());
        }
        Ok(Self {
            digest: digest.to_owned(),
            kind: single(headers, &header::CONTENT_TYPE).unwrap_or_default().to_owned(),
            encoding: single(headers, &header::CONTENT_ENCODING).unwrap_or_default().to_owned(),
        })
    }
}

/// Who a request claims to be from, to make the next nonce for: read before anything is checked.
#[must_use]
pub fn claimed_station(headers: &HeaderMap) -> Option<(TenantId, StationId)> {
    let input = single(headers, &SIGNATURE_INPUT)?;
    let parameters = Parameters::parse(input, true).or_else(|_| Parameters::parse(input, false)).ok()?;
    Some((parameters.tenant, parameters.station))
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// `too_large`; `bad_request` for a body that was cut off or does not come.
pub async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Rejection> {
    let announced = single(headers, &header::CONTENT_LENGTH).and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ProblemCode::TooLarge.into());
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ProblemCode::TooLarge.into()),
        Ok(Err(_)) => Err(Rejection::BadRequest("body was cut off")),
        Err(_) => Err(Rejection::BadRequest("body did not come in time")),
    }
}

/// The body of a request: not looked into before the caller is authenticated.
#[derive(Debug)]
pub enum JsonBody<T> {
    /// Read already: from a caller in this process.
    Read(T),
    /// As it was sent.
    Sent {
        /// The signed headers of the body.
        headers: SignedBody,
        /// The body, compressed or not.
        body: Vec<u8>,
        /// The most bytes after decompression.
        limit: usize,
    },
}

impl<T: DeserializeOwned> JsonBody<T> {
    /// Reads it.
    ///
    /// # Errors
    /// `bad_request`, `too_large`.
    pub fn read(self) -> Result<T, Rejection> {
        let (headers, body, limit) = match self {
            Self::Read(value) => return Ok(value),
            Self::Sent { headers, body, limit } => (headers, body, limit),
        };
        if headers.kind != "application/json" {
            return Err(Rejection::BadRequest("content-type is not application/json"));
        }
        let json = match headers.encoding.as_str() {
            "" => body,
            "zstd" => decompress(&body, limit)?,
            _ => return Err(Rejection::BadRequest("content-encoding is neither none nor zstd")),
        };
        serde_json::from_slice(&json).map_err(|_| Rejection::BadRequest("body is not as specified"))
    }
}

/// Decompresses the body of a push to at most [`MAX_DECOMPRESSED`] bytes, however small it was sent.
///
/// # Errors
/// `bad_request`, `too_large`.
pub fn decompress_push(signed: &SignedBody, sent: &[u8]) -> Result<Vec<u8>, Rejection> {
    if signed.kind != PUSH_CONTENT_TYPE {
        return Err(Rejection::BadRequest("content-type is not that of a push"));
    }
    if signed.encoding != "zstd" {
        return Err(Rejection::BadRequest("content-encoding is not zstd"));
    }
    decompress(sent, MAX_DECOMPRESSED)
}

fn decompress(sent: &[u8], most: usize) -> Result<Vec<u8>, Rejection> {
    let not_zstd = |_| Rejection::BadRequest("body is not zstd");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(sent).map_err(not_zstd)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(not_zstd)?;
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut body = Vec::new();
    decoder.take(limit).read_to_end(&mut body).map_err(not_zstd)?;
    if body.len() > most { Err(ProblemCode::TooLarge.into()) } else { Ok(body) }
}

/// The value of a header that stands exactly once.
#[must_use]
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// The host that the caller named: in the request line (HTTP/2), else in `Host`.
fn authority(parts: &Parts) -> Option<String> {
    let named = parts.uri.authority().map(axum::http::uri::Authority::as_str);
    named.or_else(|| single(&parts.headers, &header::HOST)).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Vec<u8>, Rejection>) -> ProblemCode {
        result.unwrap_err().problem().code
    }

    #[test]
    fn a_bomb_is_too_large_and_never_unpacked_whole() {
        let mut bomb = zstd::encode_all(std::io::repeat(0).take(64 * 1024 * 1024), 3).unwrap();
        assert!(bomb.len() < 64 * 1024, "a bomb is small: {}", bomb.len());
        assert_eq!(code(decompress(&bomb, MAX_DECOMPRESSED)), ProblemCode::TooLarge);
        bomb.truncate(bomb.len() - 4);
        assert_eq!(code(decompress(&bomb, MAX_DECOMPRESSED)), ProblemCode::TooLarge, "cut at its end");
        let fits = zstd::encode_all(std::io::repeat(7).take(MAX_DECOMPRESSED as u64), 3).unwrap();
        assert_eq!(decompress(&fits, MAX_DECOMPRESSED).unwrap().len(), MAX_DECOMPRESSED);
    }

    #[test]
    fn bytes_that_are_no_zstd_or_cut_are_a_bad_request() {
        let whole = zstd::encode_all(&b"some bytes that are long enough to be cut"[..], 3).unwrap();
        for end in 1..whole.len() {
            assert_eq!(code(decompress(&whole[..end], 99)), ProblemCode::BadRequest, "{end} bytes");
        }
        assert_eq!(code(decompress(b"not zstd at all", 99)), ProblemCode::BadRequest);
    }

    #[tokio::test]
    async fn a_body_past_its_limit_is_too_large_with_and_without_a_length() {
        let mut headers = HeaderMap::new();
        let read = read_body(&headers, Body::from(vec![0; 11]), 10).await;
        assert_eq!(code(read), ProblemCode::TooLarge);
        assert_eq!(read_body(&headers, Body::from(vec![0; 10]), 10).await.unwrap().len(), 10);
        headers.insert(header::CONTENT_LENGTH, "11".parse().unwrap());
        assert_eq!(code(read_body(&headers, Body::empty(), 10).await), ProblemCode::TooLarge);
    }

    #[test]
    fn a_header_that_stands_twice_is_none() {
        let mut headers = HeaderMap::new();
        headers.append(SIGNATURE, "a".parse().unwrap());
        assert_eq!(single(&headers, &SIGNATURE), Some("a"));
        headers.append(SIGNATURE, "b".parse().unwrap());
        assert_eq!(single(&headers, &SIGNATURE), None);
    }
}
