"""The tenant's log (PROTOCOL §4, §9.15, §9.17): leaves, tree, checkpoints, and verdicts in their places."""

import base64
import binascii
import hashlib
import re

import ed25519
from merkle import roots_at
from strict_json import Unreadable

CERTIFICATE, OPERATION, VERDICT, OTHER = range(4)
NOTE = re.compile(r"((?:[^\n]+\n)+)\n((?:\u2014 [^\n]+\n)+)")
NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")


def key_hash(name, public_key):
    """First four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)."""
    return hashlib.sha256(name.encode("utf-8") + b"\n\x01" + public_key).digest()[:4]


def strict_base64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable("not base64") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise Unreadable("base64 that is not canonical")
    return data


def read_checkpoint(text, signatures, tenant, log_keys):
    """(generation, size, root) of one signed note."""
    lines = text.split("\n")[:-1]
    if len(lines) != 3:
        raise Unreadable(f"{len(lines)} lines where a checkpoint has three")
    origin, size, root = lines[0], lines[1], strict_base64(lines[2])
    prefix, _, generation = origin.rpartition("/")
    if prefix != f"lotgate/{tenant}" or not NUMBER.fullmatch(generation) or generation == "0":
        raise Unreadable(f"origin {origin[:80]!r}")
    if not NUMBER.fullmatch(size) or len(root) != 32:
        raise Unreadable("a size or a root that is none")
    good = False
    for line in signatures.split("\n")[:-1]:
        name, _, encoded = line[2:].partition(" ")
        data = strict_base64(encoded)
        if name != origin:
            continue  # signatures of others (witnesses) say nothing here
        for key in log_keys:
            if data[:4] == key_hash(origin, key):
                if not ed25519.verify(key, text.encode("utf-8"), data[4:]):
                    raise Unreadable(f"size {size}: the signature does not verify")
                good = True
    if not good:
        raise Unreadable(f"size {size}: no signature by the tenant's log key")
    return int(generation), int(size), root.hex()


def read_checkpoints(data, tenant, log_keys, findings):
    """All valid checkpoints of checkpoints.txt: signed notes, an empty line between them."""
    found = []
    try:
        text, at = data.decode("utf-8"), 0
        while at < len(text):
            note = NOTE.match(text, at)
            if note is None:
                raise Unreadable(f"at character {at}: no signed note")
            try:
                found.append(read_checkpoint(note[1], note[2], tenant, log_keys))
            except Unreadable as error:
                findings.add("checkpoint_unreadable", str(error))
            at = note.end()
            if at < len(text):
                if text[at] != "\n":
                    raise Unreadable(f"at character {at}: no empty line after a note")
                at += 1
    except UnicodeDecodeError:
        findings.add("checkpoint_unreadable", "not UTF-8")
    except Unreadable as error:
        findings.add("checkpoint_unreadable", str(error))
    return found


def read_log(data, root_hash):
    """[(kind, leaf hash)] of log.bin."""
    if len(data) % 33:
        raise Unreadable(f"{len(data)} bytes are no whole number of 33-byte records")
    log = [(data[at], data[at + 1:at + 33]) for at in range(0, len(data), 33)]
    unknown = next((index for index, (kind, _) in enumerate(log) if kind > OTHER), None)
    if unknown is not None:
        raise Unreadable(f"leaf {unknown}: kind {log[unknown][0]} is unknown")
    if not log or log[0] != (CERTIFICATE, root_hash):
        raise Unreadable("leaf 0 is not the root certificate")
    return log


def check_roots(log, checkpoints, quotes, undone, findings):
    """Checkpoints and the quotes of knew.log against the tree, or, without a tree, against each other."""
    newest = max((generation for generation, _, _ in checkpoints), default=1)
    by_size, tree = {}, {}
    if log is not None:
        sizes = {size for _, size, _ in checkpoints} | {size for size, _ in quotes}
        tree = {size: root.hex() for size, root in roots_at((digest for _, digest in log), sizes).items()}
    for generation, size, root in checkpoints:
        if by_size.setdefault((generation, size), root) != root:
            findings.add("checkpoint_mismatch", f"generation {generation}: two roots for size {size}")
        if log is None or tree.get(size) == root or generation < newest and undone(size):
            continue
        findings.add("checkpoint_mismatch", f"generation {generation}, size {size}: " + (
            "the tree has another root" if size in tree else f"the log has only {len(log)} leaves"))
    if log is not None and max((size for _, size, _ in checkpoints), default=0) < len(log):
        findings.add("checkpoint_missing", f"no checkpoint covers all {len(log)} leaves")
    roots = {}
    for (_, size), root in by_size.items():
        roots.setdefault(size, set()).add(root)
    for (size, root), place in quotes.items():
        if log is not None and tree.get(size) != root and not undone(size):
            findings.add("knew_mismatch", f"knew.log quotes another root of size {size}" if size in tree else
                         f"knew.log quotes size {size}, the log has only {len(log)} leaves", *place)
        elif log is None and root not in roots.setdefault(size, {root}):
            # No tree here, but a root that differs from a checkpoint's or from what the station quoted before.
            findings.add("knew_mismatch", f"knew.log quotes another root of size {size}", *place)


def check_leaves(log, chains, certificates, verdict_hashes, event_hashes, findings):
    """Every certificate, verdict and entry of the export is a leaf, once, and the other way round."""
    for kind, name, exported in ((CERTIFICATE, "certificate", certificates), (VERDICT, "verdict", verdict_hashes)):
        leaves = {digest for leaf_kind, digest in log if leaf_kind == kind}
        for digest in sorted(leaves - exported):
            findings.add("log_mismatch", f"the {name} of leaf {digest.hex()} is not in the export")
        for digest in sorted(exported - leaves):
            findings.add("log_mismatch", f"{name} {digest.hex()} is no leaf of the log")
    for index, (kind, digest) in enumerate(log):
        if kind == OTHER and digest not in event_hashes:
            findings.add("log_mismatch", f"the statement of leaf {index} ({digest.hex()}) is not in statements.bin")
    index_of = {}
    for index, (kind, digest) in enumerate(log):
        if kind == OPERATION and index_of.setdefault(digest, index) != index:
            findings.add("log_mismatch", f"leaves {index_of[digest]} and {index} are the same operation")
    for chain in chains.values():
        before = -1
        for seq in sorted(chain.hashes):
            index = index_of.pop(chain.hashes[seq], None)
            place = (chain.station, chain.number, seq)
            if index is None:
                findings.add("log_mismatch", "the entry is no leaf of the log", *place)
            elif index < before:
                findings.add("log_mismatch", f"leaf {index} stands before that of the entry before", *place)
            before = before if index is None else index
    for digest, index in index_of.items():
        findings.add("log_mismatch", f"the entry of leaf {index} ({digest.hex()}) is not in the export")


def check_coverage(log, verdicts, findings):
    """Each verdict stands directly after what it covers; each operation is covered once, or by one that supersedes."""
    at_leaf = {digest: verdict for verdict, digest in verdicts}
    covered = bytearray(len(log))
    for index, (kind, digest) in enumerate(log):
        verdict = at_leaf.get(digest) if kind == VERDICT else None
        if verdict is None:
            continue
        name, first, end = f"verdict at leaf {index}", verdict["first"], verdict["first"] + verdict["count"]
        if end != index:
            findings.add("verdict_contradiction", f"{name}: it belongs at leaf {end}")
        for place in range(min(first, len(log)), min(end, len(log))):
            if log[place][0] != OPERATION or covered[place]:
                findings.add("verdict_contradiction", f"{name}: leaf {place} is no operation, or has a verdict already")
            covered[place] = 1
        for place in verdict["supersedes"]:
            if place >= len(log) or not covered[place]:
                findings.add("verdict_contradiction", f"{name}: leaf {place} has no verdict that it could supersede")
    for index, (kind, _) in enumerate(log):
        if kind == OPERATION and not covered[index]:
            findings.add("verdict_missing", f"no verdict covers the operation at leaf {index}")
