//! The domain's protocol, implemented: what one caller may ask of the cloud.

use crate::Cloud;
use crate::enrol::Enrol;
use crate::error::Rejection;
use crate::evidence::KeepEvidence;
use crate::feed::PullFeed;
use crate::gate::{self, Caller};
use crate::head::ShowHead;
use crate::heartbeat::KeepHeartbeat;
use crate::push::{self, Push};
use crate::request::JsonBody;
use crate::retire::Retire;
use crate::rotate::Rotate;
use lotgate_domain::ids::{StationId, TenantId};
use lotgate_domain::protocol::care::{
    EvidenceReply, EvidenceRequest, Heartbeat, HeartbeatReply, RetireReply, RetireRequest, RotateReply,
    RotateRequest,
};
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{CloudApi, EnrolReply, EnrolRequest, FeedReply, HeadReply, PushReply};
use std::net::IpAddr;
use std::sync::Arc;

/// The cloud, for one caller. Every method is one passage of the gate.
#[derive(Debug, Clone)]
pub struct Session {
    cloud: Arc<Cloud>,
    identity: Identity,
}

#[derive(Debug, Clone)]
enum Identity {
    Nobody(Option<IpAddr>),
    Known(Caller),
}

impl Session {
    /// For a station, without HTTP and so without a request to sign: tests and benchmarks.
    #[must_use]
    pub fn of_station(cloud: Arc<Cloud>, tenant: TenantId, station: StationId) -> Self {
        Self { cloud, identity: Identity::Known(Caller::Station { tenant, station }) }
    }

    /// For somebody who is to be enrolled.
    #[must_use]
    pub fn of_nobody(cloud: Arc<Cloud>, address: Option<IpAddr>) -> Self {
        Self { cloud, identity: Identity::Nobody(address) }
    }

    fn caller(&self) -> Result<&Caller, Rejection> {
        match &self.identity {
            Identity::Known(caller) => Ok(caller),
            Identity::Nobody(_) => Err(Rejection::Missing("station behind this request")),
        }
    }

    fn address(&self) -> Option<IpAddr> {
        match &self.identity {
            Identity::Known(caller) => caller.address(),
            Identity::Nobody(address) => *address,
        }
    }
}

impl CloudApi for Session {
    type Error = Rejection;

    async fn enrol(&self, request: EnrolRequest) -> Result<EnrolReply, Rejection> {
        let token: EnrolToken =
            request.token.parse().map_err(|_| Rejection::BadRequest("token is not of its form"))?;
        let caller = Caller::Token { tenant: token.tenant, address: self.address() };
        gate::pass(&self.cloud, &caller, Enrol { request, token }).await
    }

    async fn head(&self) -> Result<HeadReply, Rejection> {
        gate::pass(&self.cloud, self.caller()?, ShowHead).await
    }

    async fn push(&self, request: PushRequest) -> Result<PushReply, Rejection> {
        push::push(&self.cloud, self.caller()?, Push::Read(request)).await
    }

    async fn feed(&self, after: u64) -> Result<FeedReply, Rejection> {
        gate::pass(&self.cloud, self.caller()?, PullFeed { after: Some(after) }).await
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply, Rejection> {
        let work = KeepHeartbeat { heartbeat: JsonBody::Read(heartbeat) };
        gate::pass(&self.cloud, self.caller()?, work).await
    }

    async fn evidence(&self, request: EvidenceRequest) -> Result<EvidenceReply, Rejection> {
        let work = KeepEvidence { request: JsonBody::Read(request) };
        gate::pass(&self.cloud, self.caller()?, work).await
    }

    async fn rotate(&self, request: RotateRequest) -> Result<RotateReply, Rejection> {
        gate::pass(&self.cloud, self.caller()?, Rotate { request: JsonBody::Read(request) }).await
    }

    async fn retire(&self, request: RetireRequest) -> Result<RetireReply, Rejection> {
        gate::pass(&self.cloud, self.caller()?, Retire { request: JsonBody::Read(request) }).await
    }
}
