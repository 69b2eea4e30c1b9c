//! How the engine stands, for screens.

use super::failure::{FailureClass, FailureCode};
use lotgate_domain::ids::Epoch;
use lotgate_domain::protocol::StopCode;
use serde::{Deserialize, Serialize};

/// The state of the way to the cloud in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Nothing was tried yet.
    Connecting,
    /// The last call was answered as it should be.
    Online,
    /// A person stopped the sending.
    Paused,
    /// [`FailureClass::Offline`].
    Offline,
    /// [`FailureClass::Unreachable`].
    Unreachable,
    /// [`FailureClass::Unauthorised`].
    Unauthorised,
    /// [`FailureClass::RequestRefused`].
    RequestRefused,
    /// [`FailureClass::ServerInconsistent`].
    ServerInconsistent,
    /// [`FailureClass::OwnQueueFault`].
    OwnQueueFault,
}

impl From<FailureClass> for Link {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::Offline => Self::Offline,
            FailureClass::Unreachable => Self::Unreachable,
            FailureClass::Unauthorised => Self::Unauthorised,
            FailureClass::RequestRefused => Self::RequestRefused,
            FailureClass::ServerInconsistent => Self::ServerInconsistent,
            FailureClass::OwnQueueFault => Self::OwnQueueFault,
        }
    }
}

/// The cloud does not take an entry; a person or a new epoch must resolve it. Capture goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stuck {
    /// Epoch of the entry.
    pub epoch: Epoch,
    /// Its position.
    pub seq: u64,
    /// Why it is not taken.
    pub code: StopCode,
}

impl Stuck {
    pub(super) const fn code_text(self) -> &'static str {
        match self.code {
            StopCode::BadSignature => "bad_signature",
            StopCode::BrokenChain => "broken_chain",
        }
    }
}

/// How the engine stands. Times are monotonic milliseconds of the clock that drives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The way to the cloud.
    pub link: Link,
    /// Exactly what is wrong, where something is.
    pub failure: Option<FailureCode>,
    /// The last contradiction of the cloud since the program started. It stays when the link recovers.
    pub alarm: Option<FailureCode>,
    /// The entry that the cloud does not take, where there is one.
    pub stuck: Option<Stuck>,
    /// The cloud says that this station was revoked. It may still push.
    pub revoked: bool,
    /// Entries are on their way.
    pub sending: bool,
    /// When the next attempt is made, after a failure.
    pub retry_at: Option<u64>,
    /// When the cloud last gave a good answer.
    pub last_contact: Option<u64>,
}
