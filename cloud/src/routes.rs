//! Every route, in one table that the router is built from, and how a reply is written.

use crate::Cloud;
use crate::error::{Rejection, chain};
use crate::evidence::{KeepEvidence, MOST_BODY};
use crate::feed::PullFeed;
use crate::gate::{self, Access, Caller};
use crate::head::ShowHead;
use crate::heartbeat::KeepHeartbeat;
use crate::push::{self, Push};
use crate::request::{self, JsonBody, SignedRequest};
use crate::retire::Retire;
use crate::rotate::Rotate;
use crate::session::Session;
use crate::time::{ShowTime, TimeQuery};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use lotgate_domain::ids::{StationId, TenantId};
use lotgate_domain::protocol::problem::{Problem, ProblemCode};
use lotgate_domain::protocol::{
    CloudApi as _, ENROL_PATH, EVIDENCE_PATH, FEED_CONTENT_TYPE, FEED_PATH, FeedReply, HEAD_PATH,
    HEARTBEAT_PATH, MAX_DECOMPRESSED, NONCE_HEADER, OPERATIONS_PATH, RETIRE_PATH, ROTATE_PATH,
    STATEMENT_CONTENT_TYPE, TIME_PATH,
};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use uuid::Uuid;

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST`.
    pub method: Verb,
    /// Path, whole.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// The largest body as sent, in bytes; 0 for a route without one.
    pub max_body: usize,
    /// What it does.
    pub call: Call,
}

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
}

/// What a route does: one method of the protocol each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `CloudApi::enrol`.
    Enrol,
    /// `CloudApi::head`.
    Head,
    /// `CloudApi::push`.
    Push,
    /// `CloudApi::feed`.
    Feed,
    /// The signed time.
    Time,
    /// `CloudApi::heartbeat`.
    Heartbeat,
    /// `CloudApi::evidence`.
    Evidence,
    /// `CloudApi::rotate`.
    Rotate,
    /// `CloudApi::retire`.
    Retire,
}

/// Every route there is.
pub const ROUTES: [Route; 9] = [
    Route {
        method: Verb::Post,
        path: ENROL_PATH,
        access: Access::Token,
        max_body: 16 * 1024,
        call: Call::Enrol,
    },
    Route { method: Verb::Get, path: HEAD_PATH, access: Access::Station, max_body: 0, call: Call::Head },
    Route {
        method: Verb::Post,
        path: OPERATIONS_PATH,
        access: Access::Station,
        max_body: MAX_DECOMPRESSED,
        call: Call::Push,
    },
    Route { method: Verb::Get, path: FEED_PATH, access: Access::Station, max_body: 0, call: Call::Feed },
    Route { method: Verb::Get, path: TIME_PATH, access: Access::Anyone, max_body: 0, call: Call::Time },
    Route {
        method: Verb::Post,
        path: HEARTBEAT_PATH,
        access: Access::Station,
        max_body: 64 * 1024,
        call: Call::Heartbeat,
    },
    Route {
        method: Verb::Post,
        path: EVIDENCE_PATH,
        access: Access::Station,
        max_body: MOST_BODY,
        call: Call::Evidence,
    },
    Route {
        method: Verb::Post,
        path: ROTATE_PATH,
        access: Access::Station,
        max_body: 16 * 1024,
        call: Call::Rotate,
    },
    Route {
        method: Verb::Post,
        path: RETIRE_PATH,
        access: Access::Station,
        max_body: 16 * 1024,
        call: Call::Retire,
    },
];

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NONCE: HeaderName = HeaderName::from_static(NONCE_HEADER);
/// Level of a feed page's compression.
const ZSTD_LEVEL: i32 = 3;

/// A reply that is not a rejection, and the station that the next nonce is for if the request names none.
struct Answer {
    content_type: HeaderValue,
    compressed: bool,
    body: Vec<u8>,
    enrolled: Option<(TenantId, StationId)>,
}

/// The router of a cloud.
pub fn router(cloud: Arc<Cloud>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let filter = match route.method {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
        };
        let handler = move |State(cloud): State<Arc<Cloud>>, request: Request| async move {
            let (parts, body) = request.into_parts();
            let answer = call(&cloud, route, &parts, body).await;
            reply(&cloud, &parts, answer)
        };
        router = router.route(route.path, on(filter, handler));
    }
    let unknown = |State(cloud): State<Arc<Cloud>>, request: Request| async move {
        let (parts, _) = request.into_parts();
        reply(&cloud, &parts, Err(ProblemCode::UnknownRoute.into()))
    };
    router.method_not_allowed_fallback(unknown).fallback(unknown).with_state(cloud)
}

async fn call(cloud: &Arc<Cloud>, route: Route, parts: &Parts, body: Body) -> Result<Answer, Rejection> {
    // GET answers HEAD as well where a router is not told otherwise.
    let expected = match route.method {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
    };
    if parts.method != expected {
        return Err(ProblemCode::UnknownRoute.into());
    }
    let sent = request::read_body(&parts.headers, body, route.max_body).await?;
    let address = address(parts);
    if route.access == Access::Anyone {
        return time(cloud, parts, address).await;
    }
    if route.access == Access::Token {
        let request = serde_json::from_slice(&sent)
            .map_err(|_| Rejection::BadRequest("enrolment is not as specified"))?;
        let reply = Session::of_nobody(Arc::clone(cloud), address).enrol(request).await?;
        let enrolled = enrolled(&reply.certificates);
        return Ok(Answer { enrolled, ..json(&reply)? });
    }
    let signed = SignedRequest::read(parts, (route.max_body > 0).then_some(&sent), address)?;
    let headers = signed.body.clone();
    let caller = Caller::Signed(Arc::new(signed));
    match (route.call, headers) {
        (Call::Push, Some(headers)) => {
            json(&push::push(cloud, &caller, Push::Sent { headers, body: sent }).await?)
        }
        (Call::Head, None) => json(&gate::pass(cloud, &caller, ShowHead).await?),
        (Call::Feed, None) => {
            let work = PullFeed::of_query(parts.uri.query().unwrap_or_default());
            feed(parts, gate::pass(cloud, &caller, work).await?)
        }
        (Call::Heartbeat, Some(headers)) => {
            let heartbeat = JsonBody::Sent { headers, body: sent, limit: route.max_body };
            json(&gate::pass(cloud, &caller, KeepHeartbeat { heartbeat }).await?)
        }
        (Call::Evidence, Some(headers)) => {
            let request = JsonBody::Sent { headers, body: sent, limit: route.max_body };
            json(&gate::pass(cloud, &caller, KeepEvidence { request }).await?)
        }
        (Call::Rotate, Some(headers)) => {
            let request = JsonBody::Sent { headers, body: sent, limit: route.max_body };
            json(&gate::pass(cloud, &caller, Rotate { request }).await?)
        }
        (Call::Retire, Some(headers)) => {
            let request = JsonBody::Sent { headers, body: sent, limit: route.max_body };
            json(&gate::pass(cloud, &caller, Retire { request }).await?)
        }
        _ => Err(ProblemCode::UnknownRoute.into()),
    }
}

async fn time(cloud: &Cloud, parts: &Parts, address: Option<IpAddr>) -> Result<Answer, Rejection> {
    if !cloud.open_route.admits(address, cloud.now()) {
        return Err(ProblemCode::RateLimited.into());
    }
    let TimeQuery { tenant, nonce } = TimeQuery::of_query(parts.uri.query().unwrap_or_default())?;
    let body = gate::pass(cloud, &Caller::Anyone { tenant, address }, ShowTime { nonce }).await?;
    let content_type = HeaderValue::from_static(STATEMENT_CONTENT_TYPE);
    Ok(Answer { content_type, compressed: false, body, enrolled: None })
}

fn json<T: Serialize>(value: &T) -> Result<Answer, Rejection> {
    let body = serde_json::to_vec(value).map_err(|_| Rejection::System("a reply cannot be written"))?;
    Ok(Answer { content_type: JSON, compressed: false, body, enrolled: None })
}

/// The framed statement, then the page; nothing at all while the site has no page.
fn feed(parts: &Parts, reply: FeedReply) -> Result<Answer, Rejection> {
    let mut body = reply.statement.unwrap_or_default();
    body.extend(reply.page.unwrap_or_default());
    let accepted = request::single(&parts.headers, &header::ACCEPT_ENCODING);
    let compressed = !body.is_empty()
        && accepted.is_some_and(|list| list.split(',').any(|coding| coding.trim() == "zstd"));
    if compressed {
        body = zstd::bulk::compress(&body, ZSTD_LEVEL)
            .map_err(|_| Rejection::System("a page cannot be compressed"))?;
    }
    let content_type = HeaderValue::from_static(FEED_CONTENT_TYPE);
    Ok(Answer { content_type, compressed, body, enrolled: None })
}

fn enrolled(certificates: &[lotgate_domain::protocol::HexBytes]) -> Option<(TenantId, StationId)> {
    let frame = lotgate_domain::entry::Frame::read(&certificates.last()?.0).ok()?;
    let certificate: lotgate_domain::certificate::Certificate = serde_json::from_slice(frame.json()).ok()?;
    Some((certificate.tenant, certificate.subject.id.parse().ok()?))
}

fn reply(cloud: &Cloud, parts: &Parts, answer: Result<Answer, Rejection>) -> Response {
    let nobody = (TenantId(Uuid::nil()), StationId(Uuid::nil()));
    let enrolled = answer.as_ref().ok().and_then(|answer| answer.enrolled);
    let (tenant, station) = enrolled.or_else(|| request::claimed_station(&parts.headers)).unwrap_or(nobody);
    let mut response = match answer {
        Ok(answer) => {
            tracing::info!(method = %parts.method, path = parts.uri.path(), status = 200, "request");
            success(answer)
        }
        Err(rejection) => {
            let problem = rejection.problem();
            log(parts, &rejection, problem.code);
            failure(&problem)
        }
    };
    let nonce = cloud.nonces().issue(tenant, station, cloud.now());
    if let Ok(nonce) = HeaderValue::try_from(nonce) {
        response.headers_mut().insert(NONCE, nonce);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn success(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    response.headers_mut().insert(header::CONTENT_TYPE, answer.content_type);
    if answer.compressed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    }
    response
}

fn failure(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    if let Some(ms) = problem.retry_after_ms {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
    }
    response
}

fn log(parts: &Parts, rejection: &Rejection, code: ProblemCode) {
    let (method, path, code) = (&parts.method, parts.uri.path(), code.as_str());
    match rejection {
        Rejection::Coded(_) | Rejection::BadRequest(_) | Rejection::HeadMismatch(_) => {
            tracing::info!(%method, path, code, reason = %rejection, "request rejected");
        }
        Rejection::Database(_)
        | Rejection::Seal(_)
        | Rejection::Statement(_)
        | Rejection::Missing(_)
        | Rejection::Reference(_)
        | Rejection::File(_)
        | Rejection::Stored(_)
        | Rejection::System(_) => {
            tracing::error!(%method, path, code, reason = chain(rejection), "request failed");
        }
    }
}

fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}
