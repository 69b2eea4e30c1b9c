//! What a push is answered with beside the receipt: that everything of it stands in the tenant's log, and that
//! the log only grew (PROTOCOL §4, §9.14, §9.17).

use super::HexBytes;
use crate::ids::Hash;
use serde::{Deserialize, Serialize};

/// The proof of one reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogProof {
    /// The signed note ([`crate::merkle::checkpoint::Checkpoint`]).
    pub checkpoint: String,
    /// For each verdict batch of the reply, in the same order.
    pub ranges: Vec<RangeProof>,
    /// From the size that the request named, and from the size that the station was last answered with, each if
    /// it is another one than the checkpoint's.
    pub consistency: Vec<ConsistencyProof>,
    /// Framed `log.recovered` statements of every generation after the one that the request named.
    pub recovered: Vec<HexBytes>,
}

/// That the operations of a verdict batch and the batch itself stand in the log, from the batch's `first` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeProof {
    /// Seq of the first operation that the batch covers.
    pub first_seq: u64,
    /// Checked by [`crate::merkle::proof::verify_range`].
    pub hashes: Vec<Hash>,
    /// Leaf hashes of the batch's operations after the last one of the push: the station may never have had them,
    /// as one that was restored, or a clone.
    pub rest: Vec<Hash>,
}

/// That the log begins with what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// The size from which.
    pub from: u64,
    /// Checked by [`crate::merkle::proof::verify_consistency`].
    pub hashes: Vec<Hash>,
}
