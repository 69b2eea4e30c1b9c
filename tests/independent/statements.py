"""Statements of an export: events, verdicts and the feed (PROTOCOL §3, §4, §9.7, §9.15, §9.18)."""

import hashlib
import io
import uuid

import frames
import shapes
from merkle import leaf_hash
from strict_json import Unreadable


def read_all(data, kind, trust, findings):
    """[(statement, leaf hash)] of the frames in `data` that are readable and rightly signed."""
    found = []
    try:
        for frame in frames.read_frames(io.BytesIO(data)):
            value = trust.statement(frame, kind)
            if value is not None:
                found.append((value, leaf_hash(frame)))
    except Unreadable as error:
        findings.add("statement_unreadable", f"{kind}s: {error}")
    return found


class Events:
    """What statements.bin tells: forks, and honest restores of the log."""

    def __init__(self, data, trust, findings):
        self.hashes = set()      # leaf hashes of all that are rightly signed
        self.forks = set()       # (station, epoch number)
        self.recovered = []      # (restored size, last known size)
        try:
            for frame in frames.read_frames(io.BytesIO(data)):
                value = trust.event(frame)
                if value is not None:
                    self.hashes.add(leaf_hash(frame))
                    self._note(value)
        except Unreadable as error:
            findings.add("statement_unreadable", f"statements.bin: {error}")

    def _note(self, value):
        epoch = value.get("epoch")
        number = epoch.get("n") if isinstance(epoch, dict) else epoch
        if value["kind"] == "fork.found":
            self.forks.add((value.get("station"), number))
        if value["kind"] == "log.recovered":
            # PROTOCOL §4 names what it holds, not its members: two {size, root}, one of them "restored".
            trees = {name: part["size"] for name, part in value.items() if not shapes.problem(shapes.TREE, part)}
            restored = [size for name, size in trees.items() if name == "restored"]
            known = [size for name, size in trees.items() if name != "restored"]
            if len(restored) == 1 and len(known) == 1:
                self.recovered.append((restored[0], known[0]))

    def undone(self, size):
        """Whether an honest restore took back a log of this size."""
        return any(restored < size <= known for restored, known in self.recovered)


def verdict_shape(verdict):
    """None, or what a verdict statement says that cannot be."""
    first, end = verdict["first"], verdict["first"] + verdict["count"]
    superseded = verdict["supersedes"]
    exceptions = [one["index"] for one in verdict["exceptions"]]
    if any(low >= high for low, high in zip(exceptions, exceptions[1:])):
        return "its exceptions are not in ascending order"
    if len(set(superseded)) != len(superseded) or any(index >= first for index in superseded):
        return "it supersedes an index twice, or one that is not before it"
    if any(not first <= index < end and index not in superseded for index in exceptions):
        return "an exception for an index that it does not cover"
    return None


def check_verdicts(verdicts, undone, findings):
    """What a verdict must be by itself, and that no two cover one index unless the later says that it supersedes."""
    ranges = []
    for digest, verdict in {digest: verdict for verdict, digest in verdicts}.items():
        wrong = verdict_shape(verdict)
        if wrong:
            findings.add("verdict_contradiction", f"verdict {digest.hex()}: {wrong}")
        if verdict["count"]:
            ranges.append((verdict["first"], verdict["count"], digest))
    ranges.sort()
    for (first, count, digest), (other_first, _, other) in zip(ranges, ranges[1:]):
        # The verdict's own leaf stands between its range and the next one. A restored log gives indexes again.
        if first + count >= other_first and not undone(other_first + 1):
            findings.add("verdict_contradiction", f"verdicts {digest.hex()} and {other.hex()} cover the same index")


def read_feed(data):
    """[(frame, page)] of feed.bin: u32 length ‖ statement ‖ u32 length ‖ page, the page empty if it is not kept."""
    at, found = 0, []
    while at < len(data):
        parts = []
        for _ in range(2):
            size = int.from_bytes(data[at:at + 4], "big")
            part = data[at + 4:at + 4 + size]
            if len(data) < at + 4 or len(part) != size:
                raise Unreadable(f"at byte {at}: feed.bin ends within a page")
            parts.append(part)
            at += 4 + size
        found.append(tuple(parts))
    return found


def hash_before_first(site):
    return hashlib.sha256(b"lotgate/feed/v1\x00" + uuid.UUID(site).bytes).digest()


def hash_after(before, page):
    return hashlib.sha256(before + hashlib.sha256(page).digest()).digest()


def check_feed(data, quotes, trust, findings):
    """The hash chain of each site's pages, and what entries quote of it."""
    hashes, pages = {}, {}
    try:
        for frame, page in read_feed(data):
            value = trust.statement(frame, "feed")
            if value is None:
                continue
            place = (value["site"], value["cursor"])
            if hashes.setdefault(place, value["hash"]) != value["hash"]:
                findings.add("feed_broken", f"site {place[0]}: two hashes for page {place[1]}")
            if page:
                pages[place] = page
    except Unreadable as error:
        findings.add("statement_unreadable", str(error))
    for (site, cursor), page in pages.items():
        before = hash_before_first(site).hex() if cursor == 1 else hashes.get((site, cursor - 1))
        if before and hash_after(bytes.fromhex(before), page).hex() != hashes[(site, cursor)]:
            findings.add("feed_broken", f"site {site}: page {cursor} does not follow page {cursor - 1}")
    for (site, cursor, digest), place in quotes.items():
        if hashes.get((site, cursor), digest) != digest:
            findings.add("knew_mismatch", f"snapshot {cursor} is quoted with another hash than the feed has", *place)
