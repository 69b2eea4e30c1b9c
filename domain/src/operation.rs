//! One operation: a closed envelope and a closed body, written once as RFC 8785 JSON (PROTOCOL §1, §9.3–9.6).

pub mod body;

use crate::canonical::{self, CanonicalError};
use crate::entry::{self, Frame, FrameError};
use crate::ids::{
    self, BootId, Epoch, Hash, KeyId, OperationId, ParseIdError, PersonId, SiteId, StationId, TenantId,
};
use crate::merkle::proof::TreeHead;
use crate::signature::{Context, KeyPair};
use crate::time::Timestamp;
use body::{Body, BodyError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::str::FromStr;

/// The only signature algorithm of version 1.
pub const ALG: &str = "ed25519";

/// The envelope around a body. `B` is [`Body`] when written, [`Value`] when read from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation<B = Body> {
    /// Version of the envelope: 1.
    pub v: u64,
    /// Signature algorithm: [`ALG`].
    pub alg: String,
    /// The station's key.
    pub key: KeyId,
    /// Identity of the operation.
    pub id: OperationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where the station stands.
    pub site: SiteId,
    /// The station that witnessed it.
    pub station: StationId,
    /// The run of the chain.
    pub epoch: Epoch,
    /// 1, 2, 3 … without gaps within an epoch.
    pub seq: u64,
    /// Hash of the station's previous entry; of its certificate for the first of an epoch.
    pub prev: Hash,
    /// When, by every clock at hand.
    pub at: At,
    /// Who acted.
    pub actor: Actor,
    /// In which role; null for the station itself.
    pub role: Option<String>,
    /// Why, where a reason is asked for.
    pub reason: Option<Reason>,
    /// The reference data that the decision was taken on; null before the first pull.
    pub knew: Option<Knew>,
    /// The record that it changes, before and after.
    pub state: State,
    /// The program that wrote it.
    pub program: Program,
    /// What happened.
    pub body: B,
}

/// The clocks at the moment of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// Wall clock, UTC.
    pub wall: Timestamp,
    /// Minutes that local time was ahead of UTC.
    pub offset_minutes: i32,
    /// Milliseconds since `boot`.
    pub mono_ms: u64,
    /// Which boot `mono_ms` counts from.
    pub boot: BootId,
    /// The last signed time of the cloud and how long ago it was received.
    pub server: Option<ServerTime>,
    /// What the station thought of its wall clock.
    pub clock: Clock,
}

/// A signed time of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTime {
    /// The time.
    pub time: Timestamp,
    /// Monotonic milliseconds since it was received.
    pub age_ms: u64,
}

/// State of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Agrees with what is known.
    Ok,
    /// Never compared with the cloud.
    Unsynced,
    /// Behind what was seen before.
    RolledBack,
    /// Accepted by two people while offline.
    Accepted,
}

/// Who acted: a person, or the station itself. Written as the person's id or `"station"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The station's own word.
    Station,
    /// A person.
    Person(PersonId),
}

impl Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Station => serializer.serialize_str("station"),
            Self::Person(id) => id.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ids::from_text(deserializer)
    }
}

impl FromStr for Actor {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        if text == "station" { Ok(Self::Station) } else { text.parse().map(Self::Person) }
    }
}

/// A reason code with its free text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Code from the site's list.
    pub code: String,
    /// What the person wrote.
    pub text: String,
}

/// What the station knew when it decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knew {
    /// Cursor of the snapshot (PROTOCOL §9.18).
    pub snapshot: u64,
    /// Hash of the feed up to it.
    pub hash: Hash,
    /// Monotonic milliseconds since it was confirmed as the newest.
    pub age_ms: u64,
    /// The last verified checkpoint.
    pub log: Option<TreeHead>,
}

/// The record that an operation changes, by hash; both null where none changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Before.
    pub before: Option<Hash>,
    /// After.
    pub after: Option<Hash>,
}

/// The program that wrote an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Released version.
    pub version: String,
    /// Build, as the program states it.
    pub build: String,
    /// Hash of the configuration in force.
    pub config_sha256: Hash,
}

/// What keeps its name and meaning in every version of the envelope (PROTOCOL §9.5).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Header {
    /// Version of the envelope.
    pub v: u64,
    /// Signature algorithm.
    pub alg: String,
    /// The station's key.
    pub key: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The station.
    pub station: StationId,
    /// The run of the chain.
    pub epoch: Epoch,
    /// Position in the epoch.
    pub seq: u64,
    /// Hash of the entry before.
    pub prev: Hash,
    /// `body.type`.
    #[serde(rename = "body")]
    pub body: TypeOnly,
}

/// The type of a body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TypeOnly {
    /// `body.type`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// An operation could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It has no canonical form.
    #[error("operation has no canonical form")]
    Canonical(#[from] CanonicalError),
    /// It is longer than an entry may be.
    #[error("operation does not fit an entry")]
    Frame(#[from] FrameError),
}

/// The envelope of an entry cannot be read: to the cloud, a broken chain (PROTOCOL §9.5).
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not strict JSON.
    #[error("not strict JSON")]
    Canonical(#[from] CanonicalError),
    /// A member is missing, unknown, or of the wrong shape.
    #[error("envelope is not as specified")]
    Shape(#[source] serde_json::Error),
    /// Another signature algorithm than Ed25519.
    #[error("unknown signature algorithm")]
    Algorithm,
}

/// An entry, read as far as this program understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadEntry {
    /// What every version has.
    pub header: Header,
    /// Hash of the whole entry.
    pub hash: Hash,
    /// The rest.
    pub content: Content,
}

/// How far an entry is understood. Every one is kept and passed on untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Known(Box<Operation<Body>>),
    /// Envelope of version 1, a body that is not as its type says or of a type unknown here.
    Body(Box<Operation<Value>>, BodyError),
    /// An envelope of a later version.
    LaterVersion,
}

impl Content {
    /// The operation's id, where the envelope is understood.
    #[must_use]
    pub fn id(&self) -> Option<OperationId> {
        match self {
            Self::Known(operation) => Some(operation.id),
            Self::Body(operation, _) => Some(operation.id),
            Self::LaterVersion => None,
        }
    }

    /// The site, where the envelope is understood.
    #[must_use]
    pub fn site(&self) -> Option<SiteId> {
        match self {
            Self::Known(operation) => Some(operation.site),
            Self::Body(operation, _) => Some(operation.site),
            Self::LaterVersion => None,
        }
    }
}

impl Operation<Body> {
    /// Writes the bytes of the entry: canonical JSON, signed by the station, framed.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&self, keys: &KeyPair) -> Result<Vec<u8>, WriteError> {
        let json = canonical::write(self)?;
        Ok(entry::sign(&json, Context::Operation, keys)?)
    }

    fn header(&self) -> Header {
        Header {
            v: self.v,
            alg: self.alg.clone(),
            key: self.key,
            tenant: self.tenant,
            station: self.station,
            epoch: self.epoch,
            seq: self.seq,
            prev: self.prev,
            body: TypeOnly { kind: self.body.kind().to_owned() },
        }
    }
}

/// Reads the JSON of an entry strictly. The signature is not checked here.
///
/// # Errors
/// [`EnvelopeError`].
pub fn read(frame: &Frame<'_>) -> Result<ReadEntry, EnvelopeError> {
    let json = frame.json();
    let (header, content) = match read_known(json) {
        Some(operation) => (operation.header(), Content::Known(Box::new(operation))),
        None => read_by_parts(json)?,
    };
    Ok(ReadEntry { header, hash: frame.hash(), content })
}

/// Reads what this program writes itself, which is nearly every entry, at a fraction of the price of
/// [`read_by_parts`]: if the operation is written as exactly these bytes, they are in strict form, every member
/// is there, none more, and each in its one spelling.
fn read_known(json: &[u8]) -> Option<Operation> {
    let operation: Operation = serde_json::from_str(std::str::from_utf8(json).ok()?).ok()?;
    let known = operation.v == 1 && operation.alg == ALG && operation.body.has_hex_raw();
    (known && canonical::write(&operation).ok()? == json).then_some(operation)
}

/// Reads as far as the bytes can be understood, and says what is wrong with the rest.
fn read_by_parts(json: &[u8]) -> Result<(Header, Content), EnvelopeError> {
    let value = canonical::read(json)?;
    let header = Header::deserialize(&value).map_err(EnvelopeError::Shape)?;
    if header.alg != ALG {
        return Err(EnvelopeError::Algorithm);
    }
    let content = if header.v == 1 {
        let envelope: Operation<Value> = canonical::shape(value).map_err(EnvelopeError::Shape)?;
        match Body::read(&envelope.body) {
            Ok(body) => Content::Known(Box::new(envelope.with_body(body))),
            Err(error) => Content::Body(Box::new(envelope), error),
        }
    } else {
        Content::LaterVersion
    };
    Ok((header, content))
}

impl<B> Operation<B> {
    fn with_body<C>(self, body: C) -> Operation<C> {
        Operation {
            v: self.v,
            alg: self.alg,
            key: self.key,
            id: self.id,
            tenant: self.tenant,
            site: self.site,
            station: self.station,
            epoch: self.epoch,
            seq: self.seq,
            prev: self.prev,
            at: self.at,
            actor: self.actor,
            role: self.role,
            reason: self.reason,
            knew: self.knew,
            state: self.state,
            program: self.program,
            body,
        }
    }
}
