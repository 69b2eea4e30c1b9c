"""The stations' chains (PROTOCOL §1, §9.2 to §9.5): every entry read, linked and verified."""

import ed25519
import frames
import shapes
from merkle import leaf_hash
from strict_json import Unreadable

CHUNK = 4_096


class Chain:
    """One epoch of one branch of one station, as far as the export has it."""

    def __init__(self, station, number, branch):
        self.station = station
        self.number = number
        self.branch = branch  # 0 unless the chain forked
        self.id = None        # of the epoch
        self.key = None       # key id that signs it
        self.first_prev = None
        self.opened = None    # body of epoch.opened
        self.hashes = {}      # seq -> hash, in the order of the file

    @property
    def first(self):
        return min(self.hashes)

    @property
    def last(self):
        return max(self.hashes)


class Walk:
    """Goes through all entry files once."""

    def __init__(self, tenant, trust, findings, pool=None):
        self.tenant, self.trust, self.findings, self.pool = tenant, trust, findings, pool
        self.chains = {}       # (station, epoch number, branch) -> Chain
        self.log_quotes = {}   # (size, root) of knew.log -> first place that quotes it
        self.feed_quotes = {}  # (site, snapshot, hash) of knew -> first place that quotes it
        self.jobs = []         # signatures to verify: (place, job)

    def add_file(self, stream, station, number, branch, first):
        """Reads a file of entries, which goes on where the file before it of the same chain ended."""
        chain = self.chains.setdefault((station, number, branch), Chain(station, number, branch))
        expected, before = (chain.last + 1, chain.hashes[chain.last]) if chain.hashes else (None, None)
        begun = False
        for frame in self._cut(stream, station, number):
            digest = leaf_hash(frame)
            place = (station, number, first if expected is None else expected)
            try:
                text, signature = frames.split(frame)
                operation = frames.read_operation(text)
            except Unreadable as error:
                self.findings.add("entry_unreadable", str(error), *place)
                before, expected, begun = digest, place[2] + 1, True
                continue
            seq = operation["seq"]
            place = (station, number, seq)
            if not begun and seq != first:
                self.findings.add("file_misnamed", f"its first entry has seq {seq}, its name says {first}", *place)
            begun = True
            if not self._belongs(operation, chain, place):
                before, expected = digest, (expected or seq) + 1
                continue
            if not chain.hashes and expected is None:
                self._begin(operation, chain, place)
            elif not self._continues(operation, digest, expected, before, chain, place):
                continue
            chain.hashes[seq] = digest
            before, expected = digest, seq + 1
            self._quotes(operation, place)
            for certificate, _ in self.trust.stations(station, chain.key)[:1]:
                message = frames.signed_bytes("lotgate/op/v1", text)
                self.jobs.append((place, (bytes.fromhex(certificate["public_key"]), message, signature)))
            if len(self.jobs) >= CHUNK:
                self.flush()
        self.flush()

    def _cut(self, stream, station, number):
        try:
            yield from frames.read_frames(stream)
        except Unreadable as error:
            self.findings.add("entry_unreadable", f"{error}; the rest of the file was not read", station, number)

    def _belongs(self, operation, chain, place):
        """Whether the entry is of this tenant, site, station, epoch and key; the first entry says the epoch's id and key."""
        if chain.key is None:
            chain.id, chain.key = operation["epoch"]["id"], operation["key"]
            if not self.trust.stations(chain.station, chain.key):
                self.findings.add("certificate_missing", f"key {chain.key} has no certificate of this station", *place)
        sites = {certificate["subject"]["site"] for certificate, _ in self.trust.stations(chain.station, chain.key)}
        wrong = [name for name, right in (
            ("tenant", operation["tenant"] == self.tenant),
            ("site", operation["v"] != 1 or not sites or operation["site"] in sites),
            ("station", operation["station"] == chain.station),
            ("epoch", operation["epoch"] == {"n": chain.number, "id": chain.id}),
            ("key", operation["key"] == chain.key)) if not right]
        if wrong:
            self.findings.add("entry_foreign", f"other {' and '.join(wrong)} than the chain", *place)
        return not wrong

    def _begin(self, operation, chain, place):
        chain.first_prev = bytes.fromhex(operation["prev"])
        if operation["seq"] != 1:
            return
        certificates = [digest for _, digest in self.trust.stations(chain.station, chain.key)]
        if certificates and chain.first_prev not in certificates:
            self.findings.add("chain_broken", "prev is not the hash of the certificate of the key that signs this epoch", *place)
        opening = "station.enrolled" if chain.number == 1 else "epoch.opened"
        body = operation["body"]
        if body["type"] != opening:
            self.findings.add("chain_broken", f"the epoch begins with {body['type']}, not with {opening}", *place)
        elif opening == "epoch.opened" and operation["v"] == 1 and not shapes.problem(shapes.EPOCH_OPENED, body):
            chain.opened = body

    def _continues(self, operation, digest, expected, before, chain, place):
        seq = operation["seq"]
        if seq < expected:
            if chain.hashes.get(seq) == digest:
                self.findings.add("entry_repeated", f"seq {expected} is expected here", *place)
            elif seq in chain.hashes:
                self.findings.add("fork", f"{digest.hex()} beside {chain.hashes[seq].hex()}", *place)
            else:
                self.findings.add("chain_broken", f"seq {expected} is expected here", *place)
            return False
        if seq > expected:
            self.findings.add("chain_gap", f"seq {expected} to {seq - 1} are missing", *place)
        elif operation["prev"] != before.hex():
            self.findings.add("chain_broken", "prev is not the hash of the entry before", *place)
        return True

    def _quotes(self, operation, place):
        knew = operation["knew"] if operation["v"] == 1 else None
        if knew:
            self.feed_quotes.setdefault((operation["site"], knew["snapshot"], knew["hash"]), place)
            if knew["log"]:
                self.log_quotes.setdefault((knew["log"]["size"], knew["log"]["root"]), place)

    def flush(self):
        """Verifies the signatures that wait."""
        results = ed25519.verify_many([job for _, job in self.jobs], self.pool)
        for (place, _), valid in zip(self.jobs, results):
            if not valid:
                self.findings.add("entry_unsigned", "the signature does not verify", *place)
        self.jobs = []
