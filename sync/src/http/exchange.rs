//! One request and its answer, with the nonce that goes from answer to request.

use super::error::CallError;
use super::{MAX_REPLY, RequestKeys};
use crate::clock::Clock;
use crate::engine::failure::ReplyCode;
use lotgate_domain::protocol::NONCE_HEADER;
use lotgate_domain::protocol::problem::{Problem, ProblemCode};
use lotgate_domain::protocol::request_signature::{BodyParts, Parameters, SignedParts, content_digest};
use lotgate_domain::signature::KeyPair;
use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url};
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// What requests of one station to one server share.
pub(super) struct Exchange {
    pub(super) client: reqwest::Client,
    pub(super) base: Url,
    pub(super) authority: String,
    pub(super) keys: RwLock<Option<RequestKeys>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) nonce: Mutex<Option<String>>,
}

/// The body of a request, as it is sent.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: &'static str,
    /// Empty if there is none.
    pub(super) content_encoding: &'static str,
}

/// A reply with status 200.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Exchange {
    /// A POST without a signature.
    pub(super) async fn unsigned(&self, path: &str, body: Body) -> Result<Answer, CallError> {
        self.once(None, Method::POST, path, "", Some(&body)).await
    }

    /// A request with this station's signature, repeated once with a fresh nonce where the cloud asks for one.
    pub(super) async fn signed(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Body>,
    ) -> Result<Answer, CallError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let keys = keys.as_ref();
        let used = self.nonce();
        let first = self.once(keys, method.clone(), path, query, body.as_ref()).await;
        match first {
            Err(CallError::Rejected(problem)) if asks_for_nonce(problem.code) && self.nonce() != used => {
                self.once(keys, method, path, query, body.as_ref()).await
            }
            answer => answer,
        }
    }

    /// A GET that says nothing of the station, on a connection that is closed after it.
    pub(super) async fn bare(
        &self,
        client: &reqwest::Client,
        path: &str,
        query: &str,
    ) -> Result<Answer, CallError> {
        let request = client.get(self.url(path, query)).header(CONNECTION, "close");
        judge(request.send().await?).await
    }

    /// Signs with another key of the station from the next request on.
    pub(super) fn use_keys(&self, signing: Arc<KeyPair>) {
        if let Some(keys) = self.keys.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            keys.keys = signing;
        }
    }

    fn url(&self, path: &str, query: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url.set_query((!query.is_empty()).then_some(query));
        url
    }

    async fn once(
        &self,
        keys: Option<&RequestKeys>,
        method: Method,
        path: &str,
        query: &str,
        body: Option<&Body>,
    ) -> Result<Answer, CallError> {
        let digest = body.map(|body| content_digest(&body.bytes)).unwrap_or_default();
        let parts = SignedParts {
            method: method.as_str(),
            authority: &self.authority,
            path,
            query,
            body: body.map(|body| BodyParts {
                content_digest: &digest,
                content_type: body.content_type,
                content_encoding: body.content_encoding,
            }),
        };
        let mut request =
            self.client.request(method.clone(), self.url(path, query)).header(ACCEPT_ENCODING, "zstd");
        if let Some(keys) = keys {
            let parameters = self.parameters(keys);
            request = request
                .header(SIGNATURE_INPUT, parameters.signature_input(body.is_some()))
                .header(SIGNATURE, parameters.sign(&parts, &keys.keys));
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, body.content_type).header(CONTENT_DIGEST, &digest);
            if !body.content_encoding.is_empty() {
                request = request.header(CONTENT_ENCODING, body.content_encoding);
            }
            request = request.body(body.bytes.clone());
        }
        let response = request.send().await?;
        self.keep_nonce(response.headers());
        judge(response).await
    }

    fn parameters(&self, keys: &RequestKeys) -> Parameters {
        Parameters {
            created: self.clock.read().wall.unix_ms().div_euclid(1_000),
            tenant: keys.tenant,
            station: keys.station,
            key: keys.keys.public().key_id(),
            nonce: self.nonce(),
        }
    }

    fn nonce(&self) -> Option<String> {
        self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the nonce of a reply. One that is not base64url would not survive the signature's quotes.
    fn keep_nonce(&self, headers: &HeaderMap) {
        let nonce = headers.get(NONCE_HEADER).and_then(|value| value.to_str().ok());
        let fits = |nonce: &&str| {
            (1..=256).contains(&nonce.len())
                && nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if let Some(nonce) = nonce.filter(fits) {
            *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce.to_owned());
        }
    }
}

impl Answer {
    /// The body, unpacked if it says that it is packed; at most `cap` bytes.
    pub(super) fn unpacked(&self, cap: usize) -> Result<Vec<u8>, CallError> {
        let invalid = || CallError::reply(ReplyCode::ReplyInvalid, self.status);
        match self.headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
            None | Some(b"identity") => Ok(self.body.clone()),
            Some(b"zstd") => {
                let decoder =
                    zstd::stream::read::Decoder::new(self.body.as_slice()).map_err(|_| invalid())?;
                let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
                let mut unpacked = Vec::new();
                decoder.take(limit).read_to_end(&mut unpacked).map_err(|_| invalid())?;
                if unpacked.len() > cap {
                    return Err(CallError::reply(ReplyCode::ReplyTooLarge, self.status));
                }
                Ok(unpacked)
            }
            Some(_) => Err(invalid()),
        }
    }
}

const fn asks_for_nonce(code: ProblemCode) -> bool {
    matches!(code, ProblemCode::NonceRequired | ProblemCode::NonceExpired)
}

/// Tells an answer from a rejection, and both from what the cloud never says.
async fn judge(mut response: Response) -> Result<Answer, CallError> {
    let status = response.status();
    if status.is_redirection() {
        return Err(CallError::reply(ReplyCode::Redirected, status.as_u16()));
    }
    let body = read(&mut response).await?;
    if status == StatusCode::OK {
        let headers = std::mem::take(response.headers_mut());
        return Ok(Answer { status: status.as_u16(), headers, body });
    }
    let asked = retry_after_ms(response.headers());
    Err(match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => {
            let retry_after_ms = problem.retry_after_ms.or(asked);
            CallError::Rejected(Box::new(Problem { retry_after_ms, ..problem }))
        }
        Err(_) => CallError::Reply {
            code: ReplyCode::UnexpectedStatus,
            status: status.as_u16(),
            retry_after_ms: asked,
        },
    })
}

async fn read(response: &mut Response) -> Result<Vec<u8>, CallError> {
    let too_large = CallError::reply(ReplyCode::ReplyTooLarge, response.status().as_u16());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > MAX_REPLY.saturating_sub(body.len()) {
            return Err(too_large);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}
