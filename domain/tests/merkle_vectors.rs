//! The log's tree, its proofs and its checkpoints against the published vectors of RFC 6962 (the tree of eight
//! leaves of the Certificate Transparency tests), against its definitions, and against every small change.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lotgate_domain::ids::{Hash, TenantId};
use lotgate_domain::merkle::checkpoint::{Checkpoint, CheckpointError};
use lotgate_domain::merkle::proof::{TreeHead, verify_consistency, verify_range};
use lotgate_domain::merkle::{Frontier, NodeId, Span, consistency_spans, fold, range_nodes, root};
use lotgate_domain::signature::KeyPair;
use proptest::prelude::*;

/// The leaves of the reference tree, before hashing.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// Roots of its first 0 to 8 leaves.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const LEAF_0: &str = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
const LEAF_1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const LEAF_4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const NODE_0_1: &str = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125";
const NODE_2_3: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const NODE_4_5: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const NODE_6_7: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const NODE_0_3: &str = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7";
const NODE_4_7: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";

fn hash(hex: &str) -> Hash {
    hex.parse().unwrap()
}

fn leaf(data: &[u8]) -> Hash {
    Hash::of_parts(&[&[0], data])
}

fn reference_leaves() -> Vec<Hash> {
    LEAVES.iter().map(|data| leaf(&hex::decode(data).unwrap())).collect()
}

/// Leaves of a tree of our own.
fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf(&n.to_be_bytes())).collect()
}

/// MTH of RFC 6962 §2.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(b""),
        [one] => *one,
        more => {
            let middle = 1 << (more.len() - 1).ilog2();
            let (left, right) = (mth(&more[..middle]), mth(&more[middle..]));
            Hash::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
        }
    }
}

/// PROOF(m, D) of RFC 6962 §2.1.2, word for word.
fn consistency_by_definition(from: usize, leaves: &[Hash]) -> Vec<Hash> {
    fn subproof(from: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if from == leaves.len() {
            return if whole { Vec::new() } else { vec![mth(leaves)] };
        }
        let middle = 1 << (leaves.len() - 1).ilog2();
        let (left, right) = leaves.split_at(middle);
        if from <= middle {
            let mut proof = subproof(from, left, whole);
            proof.push(mth(right));
            proof
        } else {
            let mut proof = subproof(from - middle, right, false);
            proof.push(mth(left));
            proof
        }
    }
    subproof(from, leaves, true)
}

fn at(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { size: u64::try_from(leaves.len()).unwrap(), root: mth(leaves) }
}

fn node_hash(leaves: &[Hash], id: NodeId) -> Hash {
    mth(&leaves[at(id.first())..at(id.first() + id.width())])
}

fn range_proof(leaves: &[Hash], range: Span) -> Vec<Hash> {
    let size = u64::try_from(leaves.len()).unwrap();
    range_nodes(range, size).unwrap().into_iter().map(|id| node_hash(leaves, id)).collect()
}

fn consistency_proof(leaves: &[Hash], from: u64, size: u64) -> Vec<Hash> {
    let roots = |span: Span| {
        let cover: Vec<Hash> = span.cover().into_iter().map(|id| node_hash(leaves, id)).collect();
        fold(&cover)
    };
    consistency_spans(from, size).unwrap().into_iter().map(roots).collect()
}

fn range_holds(leaves: &[Hash], head: TreeHead, range: Span, proof: &[Hash]) -> bool {
    let own = leaves[at(range.first)..at(range.end)].iter().copied();
    verify_range(head, range.first, own, proof).is_ok()
}

#[test]
fn roots_are_those_of_the_reference_tree() {
    let leaves = reference_leaves();
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root(), hash(ROOTS[0]), "empty tree");
    for (count, leaf) in leaves.iter().enumerate() {
        frontier.append(*leaf, |_, _| {});
        let expected = hash(ROOTS[count + 1]);
        assert_eq!(frontier.root(), expected, "frontier of {}", count + 1);
        assert_eq!(root(leaves[..=count].iter().copied()), expected);
        assert_eq!(mth(&leaves[..=count]), expected, "the definition itself");
    }
}

#[test]
fn the_reference_inclusion_proofs_are_made_and_hold() {
    let leaves = reference_leaves();
    let vectors: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[LEAF_1, NODE_2_3, NODE_4_7]),
        (5, 8, &[NODE_0_3, LEAF_4, NODE_6_7]),
        (2, 3, &[NODE_0_1]),
        (1, 5, &[LEAF_0, NODE_2_3, LEAF_4]),
    ];
    for (index, size, path) in vectors {
        let tree = &leaves[..at(size)];
        let path: Vec<Hash> = path.iter().map(|text| hash(text)).collect();
        let range = Span { first: index, end: index + 1 };
        assert_eq!(range_proof(tree, range), path, "leaf {index} of {size}");
        let head = TreeHead { size, root: hash(ROOTS[at(size)]) };
        assert_eq!(verify_range(head, index, [leaves[at(index)]], &path), Ok(()), "leaf {index} of {size}");
    }
}

#[test]
fn the_reference_consistency_proofs_are_made_and_hold() {
    let leaves = reference_leaves();
    let vectors: [(u64, u64, &[&str]); 4] = [
        (1, 1, &[]),
        (1, 8, &[LEAF_1, NODE_2_3, NODE_4_7]),
        (6, 8, &[NODE_4_5, NODE_6_7, NODE_0_3]),
        (2, 5, &[NODE_2_3, LEAF_4]),
    ];
    for (from, size, proof) in vectors {
        let proof: Vec<Hash> = proof.iter().map(|text| hash(text)).collect();
        assert_eq!(consistency_proof(&leaves[..at(size)], from, size), proof, "{from} to {size}");
        let old = TreeHead { size: from, root: hash(ROOTS[at(from)]) };
        let new = TreeHead { size, root: hash(ROOTS[at(size)]) };
        assert_eq!(verify_consistency(old, new, &proof), Ok(()), "{from} to {size}");
    }
}

#[test]
fn each_range_and_each_growth_of_every_tree_up_to_70_leaves_can_be_proven() {
    let all = leaves(70);
    for size in 0..=70 {
        let tree = &all[..at(size)];
        let new = head(tree);
        for first in 0..=size {
            for end in first..=size {
                let range = Span { first, end };
                let proof = range_proof(tree, range);
                assert!(range_holds(&all, new, range, &proof), "{range:?} in {size}");
            }
            let proof = consistency_proof(tree, first, size);
            let old = head(&all[..at(first)]);
            assert_eq!(verify_consistency(old, new, &proof), Ok(()), "{first} to {size}");
            if first > 0 {
                assert_eq!(proof, consistency_by_definition(at(first), tree), "{first} to {size}");
            }
        }
        assert_eq!(range_nodes(Span { first: 0, end: size + 1 }, size), None, "a range beyond the tree");
        assert_eq!(consistency_spans(size + 1, size), None, "a tree that shrinks");
    }
}

#[test]
fn a_frontier_tells_each_inner_node_once_and_can_be_taken_up_again() {
    let all = leaves(70);
    let mut frontier = Frontier::default();
    let mut told = Vec::new();
    for (count, leaf) in (0..).zip(&all) {
        let again = Frontier::new(count, frontier.roots().to_vec()).unwrap();
        assert_eq!(again, frontier, "the roots say all of it");
        assert_eq!(Frontier::new(count + 1, frontier.roots().to_vec()).is_some(), {
            (count + 1).count_ones() == count.count_ones()
        });
        frontier.append(*leaf, |id, hash| told.push((id, hash)));
    }
    for (id, hash) in &told {
        assert_eq!(*hash, node_hash(&all, *id), "{id:?}");
    }
    let inner = |level: u32| 70_u64 >> level;
    assert_eq!(told.len(), (1..=6).map(|level| at(inner(level))).sum::<usize>());
    told.sort();
    told.dedup_by_key(|(id, _)| *id);
    assert_eq!(told.len(), (1..=6).map(|level| at(inner(level))).sum::<usize>(), "each once");
}

/// Every list that differs from `proof` by one bit, one element less, one more, or two in each other's place.
fn changed(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for place in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[place].0[place % 32] ^= 1;
        all.push(flipped);
        let mut dropped = proof.to_vec();
        dropped.remove(place);
        all.push(dropped);
        for other in place + 1..proof.len() {
            let mut swapped = proof.to_vec();
            swapped.swap(place, other);
            all.push(swapped);
        }
    }
    for place in 0..=proof.len() {
        for extra in [Hash::ZERO].into_iter().chain(proof.get(place).copied()) {
            let mut added = proof.to_vec();
            added.insert(place, extra);
            all.push(added);
        }
    }
    all
}

/// Everything that must be refused in place of a true range proof.
fn check_range_mutations(all: &[Hash], size: u64, range: Span) {
    let tree = &all[..at(size)];
    let new = head(tree);
    let proof = range_proof(tree, range);
    for wrong in changed(&proof) {
        assert!(!range_holds(all, new, range, &wrong), "{range:?} in {size}: {} hashes", wrong.len());
    }
    let own = &tree[at(range.first)..at(range.end)];
    let refused = |head, first, own: &[Hash], why: &str| {
        let held = verify_range(head, first, own.iter().copied(), &proof).is_ok();
        assert!(!held, "{range:?} in {size}: {why}");
    };
    for wrong in changed(own) {
        // Two equal leaves in each other's place are the same leaves; here all are different.
        refused(new, range.first, &wrong, "other leaves");
    }
    for other in [size - 1, size + 1] {
        refused(head(&all[..at(other)]), range.first, own, "another tree");
    }
    refused(TreeHead { root: Hash::ZERO, ..new }, range.first, own, "another root");
    for other in [range.first + 1, range.first.wrapping_sub(1), u64::MAX, size] {
        refused(new, other, own, "another place");
    }
    refused(TreeHead { size: u64::MAX, ..new }, range.first, own, "a size beyond all numbers");
}

/// Everything that must be refused in place of a true consistency proof.
fn check_consistency_mutations(all: &[Hash], from: u64, size: u64) {
    let (old, new) = (head(&all[..at(from)]), head(&all[..at(size)]));
    let proof = consistency_proof(&all[..at(size)], from, size);
    for wrong in changed(&proof) {
        assert!(verify_consistency(old, new, &wrong).is_err(), "{from} to {size}: {} hashes", wrong.len());
    }
    let refused = |old, new, why: &str| {
        assert!(verify_consistency(old, new, &proof).is_err(), "{from} to {size}: {why}");
    };
    refused(TreeHead { root: Hash::ZERO, ..old }, new, "another old root");
    refused(old, TreeHead { root: Hash::ZERO, ..new }, "another new root");
    for other in [from - 1, from + 1] {
        refused(head(&all[..at(other)]), new, "another old tree");
    }
    for other in [size - 1, size + 1] {
        refused(old, head(&all[..at(other)]), "another new tree");
    }
    if from < size {
        refused(new, old, "the wrong way round");
    }
    refused(old, TreeHead { size: u64::MAX, ..new }, "a size beyond all numbers");
}

#[test]
fn whatever_is_not_exactly_the_proof_is_refused() {
    let all = leaves(25);
    for size in 1..=20 {
        for first in 0..size {
            for end in first + 1..=size {
                check_range_mutations(&all, size, Span { first, end });
            }
            if first > 0 {
                check_consistency_mutations(&all, first, size);
            }
        }
    }
}

#[test]
fn a_proof_for_an_empty_or_an_equal_tree_has_no_hashes_and_true_roots() {
    let all = leaves(3);
    let (none, some) = (head(&[]), head(&all));
    assert!(verify_consistency(none, some, &[]).is_ok());
    assert!(verify_consistency(none, none, &[]).is_ok());
    assert!(verify_consistency(TreeHead { root: Hash::ZERO, ..none }, some, &[]).is_err());
    assert!(verify_consistency(none, some, &[Hash::ZERO]).is_err());
    assert!(verify_consistency(some, TreeHead { root: Hash::ZERO, ..some }, &[]).is_err());
    assert!(verify_consistency(some, some, &[some.root]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn larger_trees_hold_and_refuse_alike(size in 2_u64..3_000, a in any::<u64>(), b in any::<u64>()) {
        let all = leaves(size + 1);
        let (a, b) = (a % size, b % size);
        let range = Span { first: a.min(b), end: a.min(b) + (a.max(b) - a.min(b)).min(40) + 1 };
        let tree = &all[..at(size)];
        prop_assert!(range_holds(&all, head(tree), range, &range_proof(tree, range)));
        check_range_mutations(&all, size, range);
        let from = a + 1;
        let proof = consistency_proof(tree, from, size);
        prop_assert_eq!(verify_consistency(head(&all[..at(from)]), head(tree), &proof), Ok(()));
        check_consistency_mutations(&all, from, size);
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_signed(generation in 1..=u64::MAX, size in any::<u64>(), root in any::<[u8; 32]>()) {
        let head = TreeHead { size, root: Hash(root) };
        let checkpoint = Checkpoint { tenant: tenant(), generation, head };
        let note = checkpoint.sign(&log());
        prop_assert_eq!(Checkpoint::read(&note, tenant(), &log().public()), Ok(checkpoint));
    }

    #[test]
    fn no_text_at_all_makes_the_reader_of_checkpoints_fall_over(text in ".{0,300}") {
        prop_assert!(Checkpoint::read(&text, tenant(), &log().public()).is_err());
    }
}

/// Made with another implementation of Ed25519 and SHA-256.
const NOTE: &str = "lotgate/0198f3a0-1111-7abc-8abc-0123456789ab/3
8
XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=

\u{2014} lotgate/0198f3a0-1111-7abc-8abc-0123456789ab/3 /tiuf/1S8kuSuR4GQHP83gX/Sb+AicVyTldo9txqujfAa1L/TKTNeR3oRtFml+MA6peVFG+m6I7KVT0cTWkKf26FNAk=
";

fn tenant() -> TenantId {
    "0198f3a0-1111-7abc-8abc-0123456789ab".parse().unwrap()
}

fn log() -> KeyPair {
    KeyPair::from_seed(&[7; 32])
}

fn known() -> Checkpoint {
    let head = TreeHead { size: 8, root: hash(ROOTS[8]) };
    Checkpoint { tenant: tenant(), generation: 3, head }
}

#[test]
fn a_checkpoint_has_exactly_the_bytes_of_the_known_note() {
    assert_eq!(known().sign(&log()), NOTE);
    assert_eq!(Checkpoint::read(NOTE, tenant(), &log().public()), Ok(known()));
}

#[test]
fn a_note_of_another_log_or_key_is_told_from_a_broken_one() {
    let read = |note: &str, tenant, key: &KeyPair| Checkpoint::read(note, tenant, &key.public());
    let other = TenantId::from_parts(1, &[1; 10]);
    assert_eq!(read(NOTE, other, &log()), Err(CheckpointError::Foreign));
    assert_eq!(read(NOTE, tenant(), &KeyPair::from_seed(&[8; 32])), Err(CheckpointError::Foreign));
    let bigger = NOTE.replace("\n8\n", "\n9\n");
    assert_eq!(read(&bigger, tenant(), &log()), Err(CheckpointError::Signature));
    for text in ["", "\n\n", "a\nb\nc\n\n\u{2014} a b\n"] {
        assert_eq!(read(text, tenant(), &log()), Err(CheckpointError::Form), "{text:?}");
    }
}

#[test]
fn a_note_has_one_spelling_and_each_change_of_it_is_refused() {
    let refused = |note: &str, why: &str| {
        let read = Checkpoint::read(note, tenant(), &log().public());
        assert!(read.is_err(), "{why}: {note:?}");
    };
    for place in 0..NOTE.len() {
        for bit in 0..8 {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[place] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                refused(&text, "one bit");
            }
        }
        if NOTE.is_char_boundary(place) {
            refused(&NOTE[..place], "cut");
            refused(&format!("{}x{}", &NOTE[..place], &NOTE[place..]), "longer");
            refused(&format!("{}\n{}", &NOTE[..place], &NOTE[place..]), "one more line");
        }
    }
    refused(&NOTE.replace("\n8\n", "\n08\n"), "a leading zero");
    refused(&NOTE.replace("\n8\n", "\n+8\n"), "a sign");
    refused(&NOTE.replace("/3\n8", "/03\n8"), "a leading zero in the generation");
    refused(&NOTE.replace("Qyg=\n", "Qyh=\n"), "padding bits that are not zero");
    refused(&NOTE.replace("\n\n", "\nextension\n\n"), "a fourth line");
    let (text, signature) = NOTE.split_once("\n\n").unwrap();
    refused(&format!("{text}\n\n{signature}{signature}"), "two signatures");
    refused(&NOTE.replace('\n', "\r\n"), "other line ends");
    let zero = Checkpoint { generation: 0, ..known() };
    refused(&zero.sign(&log()), "generations count from 1");
}
