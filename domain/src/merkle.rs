//! The tenant's append-only log as a Merkle tree (RFC 6962 §2.1, RFC 9162 §2.1, PROTOCOL §4, §9.17).
//!
//! A leaf hash is SHA-256(0x00 ‖ frame), which [`crate::entry::hash`] makes; here are the nodes above it. A
//! [`Frontier`] grows a tree and gives its root. What a proof consists of is said in [`NodeId`]s and [`Span`]s,
//! so that whoever keeps the nodes can fetch them first and fold them after; [`proof`] checks proofs.

pub mod checkpoint;
pub mod proof;

use crate::ids::Hash;

/// SHA-256 of nothing: the root of the empty tree.
const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node(left: Hash, right: Hash) -> Hash {
    Hash::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// Folds the roots of subtrees that lie side by side, each but the last perfect and none smaller than those to
/// its right, into the root over all of them. Nothing at all gives the root of the empty tree.
#[must_use]
pub fn fold(subtrees: &[Hash]) -> Hash {
    let mut from_the_right = subtrees.iter().rev().copied();
    let Some(last) = from_the_right.next() else { return Hash(EMPTY) };
    from_the_right.fold(last, |right, left| node(left, right))
}

/// A perfect subtree: the 2^level leaves from index · 2^level on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// 0 is a leaf.
    pub level: u32,
    /// Counts the subtrees of its level from the left, from 0.
    pub index: u64,
}

impl NodeId {
    /// The first leaf of the subtree.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.index << self.level
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn width(&self) -> u64 {
        1 << self.level
    }
}

/// The leaves from `first` up to, but not with, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First leaf.
    pub first: u64,
    /// One past the last.
    pub end: u64,
}

impl Span {
    /// The largest aligned perfect subtrees that cover the span, from left to right.
    #[must_use]
    pub fn cover(self) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        let mut at = self.first;
        while at < self.end {
            let room = (self.end - at).ilog2();
            let level = at.trailing_zeros().min(room);
            nodes.push(NodeId { level, index: at >> level });
            at += 1 << level;
        }
        nodes
    }
}

/// What proves that leaves `first` up to `end` stand in a tree of `size`: the subtrees to the left of them, then
/// those to the right (PROTOCOL §9.17). `None` where the range does not lie in the tree.
#[must_use]
pub fn range_nodes(range: Span, size: u64) -> Option<Vec<NodeId>> {
    (range.first <= range.end && range.end <= size).then(|| {
        let mut nodes = Span { first: 0, end: range.first }.cover();
        nodes.extend(Span { first: range.end, end: size }.cover());
        nodes
    })
}

/// What proves that a tree of `size` begins with the tree of `from`: for each hash of the proof of RFC 6962
/// §2.1.2, in its order, the span that it is the root of. The root of a span is the [`fold`] of its
/// [`Span::cover`]. `None` unless `from` ≤ `size`; nothing to prove for `from` 0 or equal sizes.
#[must_use]
pub fn consistency_spans(from: u64, size: u64) -> Option<Vec<Span>> {
    if from > size {
        return None;
    }
    let mut spans = Vec::new();
    if from == 0 || from == size {
        return Some(spans);
    }
    // SUBPROOF from the root down; what it appends last comes first.
    let (mut first, mut end) = (0, size);
    let mut whole = true;
    while from != end {
        let half = 1 << (end - first - 1).ilog2();
        let middle = first + half;
        if from <= middle {
            spans.push(Span { first: middle, end });
            end = middle;
        } else {
            spans.push(Span { first, end: middle });
            first = middle;
            whole = false;
        }
    }
    if !whole {
        spans.push(Span { first, end });
    }
    spans.reverse();
    Some(spans)
}

/// The right edge of a tree: all that is needed to append to it and to know its root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the perfect subtrees, the largest first: one for each bit of `size`.
    roots: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a tree of `size` leaves from the roots of the perfect subtrees of it, left to right.
    /// `None` if their number is not the one that the size asks for.
    #[must_use]
    pub fn new(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (u64::try_from(roots.len()) == Ok(size.count_ones().into())).then_some(Self { size, roots })
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, left to right.
    #[must_use]
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Appends a leaf; `completed` is told each inner node that it completes, from the lowest up.
    pub fn append(&mut self, leaf: Hash, mut completed: impl FnMut(NodeId, Hash)) {
        let mut hash = leaf;
        let mut index = self.size;
        let mut level = 0;
        while index & 1 == 1 {
            let Some(left) = self.roots.pop() else { break };
            hash = node(left, hash);
            index >>= 1;
            level += 1;
            completed(NodeId { level, index }, hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.roots)
    }
}

/// The root of a tree of these leaves.
#[must_use]
pub fn root(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut tree = Frontier::default();
    for leaf in leaves {
        tree.append(leaf, |_, _| {});
    }
    tree.root()
}
