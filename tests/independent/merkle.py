"""The Merkle tree of RFC 6962 2.1: leaf = SHA-256(0x00 ‖ data), node = SHA-256(0x01 ‖ left ‖ right)."""

import hashlib


def leaf_hash(data):
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(peaks):
    """The root of a tree from its perfect subtrees, left to right, each (height, hash)."""
    if not peaks:
        return hashlib.sha256(b"").digest()
    root = peaks[-1][1]
    for _, left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def roots_at(leaves, sizes):
    """{size: root of the first `size` leaves} for those of the sizes that the leaves reach, in one pass."""
    wanted, peaks = set(sizes), []
    roots = {0: root_of([])} if 0 in wanted else {}
    for at, leaf in enumerate(leaves, 1):
        height = 0
        while peaks and peaks[-1][0] == height:
            leaf = node_hash(peaks.pop()[1], leaf)
            height += 1
        peaks.append((height, leaf))
        if at in wanted:
            roots[at] = root_of(peaks)
    return roots
