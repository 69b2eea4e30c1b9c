//! Enrolment: keys first, then the token, then trust, then the queue (PROTOCOL §9.9).

use lotgate_domain::ids::Hash;
use lotgate_domain::operation::Program;
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{CloudApi, EnrolRequest};
use lotgate_domain::signature::Context;
use lotgate_sync::queue::{CapacityLimits, Identity, IdentityError, OpenError, Queue, QueueOptions};
use lotgate_sync::secure::{Random, Secure};
use std::sync::Arc;

/// What enrolment needs besides the cloud.
pub struct Enrolment {
    /// The token of this station.
    pub token: EnrolToken,
    /// What people call the station.
    pub station_name: String,
    /// The prepared secure directory, with the station's keys.
    pub secure: Secure,
    /// The station's clock.
    pub clock: Arc<dyn lotgate_sync::clock::Clock>,
    /// Random bytes.
    pub random: Arc<dyn Random>,
    /// This program.
    pub program: Program,
}

/// Why a station is not enrolled. Nothing of a failed enrolment is used; it can be repeated with the same
/// token.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError<E: std::error::Error + 'static> {
    /// The cloud gave no answer, or rejected the token.
    #[error("the cloud did not enrol the station")]
    Cloud(#[source] E),
    /// The answer does not verify from the token's fingerprint down.
    #[error("the cloud's answer is not from the tenant that the token names")]
    Identity(#[source] IdentityError),
    /// The queue could not be created.
    #[error("the queue could not be created")]
    Queue(#[source] OpenError),
}

/// Enrols the station and creates its queue, whose first operation is `station.enrolled`.
///
/// # Errors
/// [`EnrolError`].
pub async fn enrol<C>(enrolment: Enrolment, cloud: &C) -> Result<Queue, EnrolError<C::Error>>
where
    C: CloudApi,
    C::Error: std::error::Error + 'static,
{
    let keys = enrolment.secure.station_keys();
    let (public_key, hpke_key) = (keys.public(), keys.hpke_public());
    let protection = enrolment.secure.protection();
    let token = enrolment.token.line();
    let message = EnrolRequest::proof_message(&token, &public_key, &hpke_key);
    let request = EnrolRequest {
        token,
        station_name: enrolment.station_name.clone(),
        public_key,
        hpke_key,
        program: enrolment.program.version.clone(),
        key_protection: protection.as_str().to_owned(),
        proof: keys.signing.sign(Context::Enrol, &message),
    };
    let reply = cloud.enrol(request).await.map_err(EnrolError::Cloud)?;
    let root_fingerprint: Hash = enrolment.token.root_fingerprint;
    let identity = Identity::verify(
        enrolment.token.tenant,
        root_fingerprint,
        reply.site,
        enrolment.station_name,
        reply.certificates.into_iter().map(|bytes| bytes.0).collect(),
        (&public_key, &hpke_key),
        protection,
    )
    .map_err(EnrolError::Identity)?;
    let options = QueueOptions {
        secure: enrolment.secure,
        clock: enrolment.clock,
        random: enrolment.random,
        program: enrolment.program,
        limits: CapacityLimits::default(),
    };
    Queue::create(options, &identity).map_err(EnrolError::Queue)
}
