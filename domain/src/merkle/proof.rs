//! Checks proofs. Whatever is not exactly a proof of what is claimed is refused.

use super::{Frontier, NodeId, Span, fold, node};
use crate::ids::Hash;

/// The size of a tree with its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: u64,
    /// Root hash.
    pub root: Hash,
}

/// Proof and claim do not fit each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("proof does not hold")]
pub struct BadProof;

/// The largest tree that proofs are read for: sizes are JSON integers (PROTOCOL §1).
const LARGEST: u64 = (1 << 53) - 1;

/// Checks that `leaves` stand from index `first` on in the tree of `head` (PROTOCOL §9.17).
///
/// # Errors
/// [`BadProof`].
pub fn verify_range(
    head: TreeHead,
    first: u64,
    leaves: impl IntoIterator<Item = Hash>,
    proof: &[Hash],
) -> Result<(), BadProof> {
    if head.size > LARGEST || first > head.size {
        return Err(BadProof);
    }
    let left = Span { first: 0, end: first }.cover();
    let (left_roots, right_roots) = proof.split_at_checked(left.len()).ok_or(BadProof)?;
    let mut tree = Frontier::new(first, left_roots.to_vec()).ok_or(BadProof)?;
    for leaf in leaves {
        tree.append(leaf, |_, _| {});
    }
    let right = (Span { first: tree.size(), end: head.size }).cover();
    if tree.size() > head.size || right.len() != right_roots.len() {
        return Err(BadProof);
    }
    for (id, root) in right.iter().zip(right_roots) {
        append_subtree(&mut tree, *id, *root);
    }
    if tree.root() == head.root { Ok(()) } else { Err(BadProof) }
}

/// Appends a whole subtree whose place is the next one.
fn append_subtree(tree: &mut Frontier, id: NodeId, root: Hash) {
    let mut hash = root;
    let mut level = id.level;
    while (tree.size >> level) & 1 == 1 {
        let Some(left) = tree.roots.pop() else { break };
        hash = node(left, hash);
        level += 1;
    }
    tree.roots.push(hash);
    tree.size += id.width();
}

/// Checks that the tree of `to` begins with the whole tree of `from` (RFC 9162 §2.1.4.2).
///
/// # Errors
/// [`BadProof`].
pub fn verify_consistency(from: TreeHead, to: TreeHead, proof: &[Hash]) -> Result<(), BadProof> {
    if to.size > LARGEST || from.size > to.size {
        return Err(BadProof);
    }
    if from.size == 0 || from.size == to.size {
        let same = if from.size == 0 { from.root == fold(&[]) } else { from.root == to.root };
        return if proof.is_empty() && same { Ok(()) } else { Err(BadProof) };
    }
    let mut hashes = proof.iter().copied();
    let start = if from.size.is_power_of_two() { from.root } else { hashes.next().ok_or(BadProof)? };
    let shift = (from.size - 1).trailing_ones();
    let (mut first, mut last) = ((from.size - 1) >> shift, (to.size - 1) >> shift);
    let (mut old, mut new) = (start, start);
    for hash in hashes {
        if last == 0 {
            return Err(BadProof);
        }
        if first & 1 == 1 || first == last {
            old = node(hash, old);
            new = node(hash, new);
            if first & 1 == 0 {
                let zeros = first.trailing_zeros().min(63);
                (first, last) = if first == 0 { (0, 0) } else { (first >> zeros, last >> zeros) };
            }
        } else {
            new = node(new, hash);
        }
        first >>= 1;
        last >>= 1;
    }
    if last == 0 && old == from.root && new == to.root { Ok(()) } else { Err(BadProof) }
}
