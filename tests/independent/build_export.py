"""Builds small exports for the tests, with a signer of its own keys; what it writes is judged by the verifier only."""

import base64
import hashlib
import os
import uuid

import ed25519
import frames
import merkle
import statements
import strict_json
import tenant_log

TIME = "2026-11-22T10:00:00.000Z"


def uuid_7(number):
    return str(uuid.UUID(int=(0x019AAB3C0000 << 80) | (7 << 76) | (0b10 << 62) | number))


class Key:
    def __init__(self, name):
        self.seed = hashlib.sha256(name.encode()).digest()
        self.public = ed25519.public_key(self.seed)
        self.id = frames.key_id(self.public)

    def sign(self, context, value):
        """A frame of the canonical JSON of a value."""
        return self.sign_text(context, strict_json.canonical(value))

    def sign_text(self, context, text):
        return len(text).to_bytes(4, "big") + text + ed25519.sign(self.seed, frames.signed_bytes(context, text))


class Tenant:
    """A tenant with one site, its log and its feed; every method appends what a cloud would append."""

    def __init__(self):
        self.tenant, self.site = uuid_7(1), uuid_7(2)
        self.keys = {use: Key(use) for use in ("root", "issuer", "log", "statement", "recovery")}
        self.fingerprint = hashlib.sha256(self.keys["root"].public).hexdigest()
        self.certificates, self.verdicts, self.receipts, self.events = [], [], [], []
        self.leaves, self.notes, self.checkpoints = [], [], []
        self.last_receipt = {}  # station -> hash
        self.entries = {}   # (station, epoch number, branch) -> frames
        self.feed = []      # (frame, page)
        self.blobs = []
        for use, key in self.keys.items():
            self.certify("root", key, {"type": "tenant_key", "id": key.id, "use": use, "site": None})

    def certify(self, signer, key, subject, **other):
        certificate = {
            "v": 1, "kind": "cert", "tenant": self.tenant, "key": self.keys[signer].id,
            "serial": uuid_7(1000 + len(self.certificates)), "subject": subject,
            "public_key": key.public.hex(), "hpke_key": None, "training": False, "roles": [],
            "not_before": TIME, "not_after": None, "previous": None, "issued_at": TIME, **other}
        frame = self.keys[signer].sign("lotgate/cert/v1", certificate)
        self.certificates.append(frame)
        return self.leaf(tenant_log.CERTIFICATE, frame)

    def leaf(self, kind, frame):
        digest = merkle.leaf_hash(frame)
        self.leaves.append((kind, digest))
        return digest

    def statement(self, kind, signer="statement", context=None, **members):
        value = {"v": 1, "kind": kind, "tenant": self.tenant, "key": self.keys[signer].id, **members}
        return self.keys[signer].sign(context or frames.STATEMENTS[kind][0], value)

    def verdict(self, first, count, exceptions=(), supersedes=()):
        frame = self.statement("verdict.batch", first=first, count=count, exceptions=list(exceptions),
                               supersedes=list(supersedes))
        self.verdicts.append(frame)
        return self.leaf(tenant_log.VERDICT, frame)

    def receipt(self, station, verdicts, seq=None, digest=None):
        frame = self.statement(
            "receipt", station=station.id, epoch=station.epoch, time=TIME,
            previous=self.last_receipt.get(station.id, "00" * 32),
            through={"seq": seq or station.seq, "hash": digest or station.head.hex()}, verdicts=[one.hex() for one in verdicts])
        self.receipts.append(frame)
        self.last_receipt[station.id] = merkle.leaf_hash(frame).hex()

    def event(self, kind, context, signer="statement", **members):
        frame = self.statement(kind, signer, context, **members)
        self.events.append(frame)
        return self.leaf(tenant_log.OTHER, frame)

    def tree(self, size=None):
        size = len(self.leaves) if size is None else size
        return {"size": size, "root": merkle.roots_at([digest for _, digest in self.leaves], [size])[size].hex()}

    def checkpoint(self, generation=1, tree=None, key=None):
        tree, key = tree or self.tree(), key or self.keys["log"]
        origin = f"lotgate/{self.tenant}/{generation}"
        text = f"{origin}\n{tree['size']}\n{base64.b64encode(bytes.fromhex(tree['root'])).decode()}\n"
        signed = tenant_log.key_hash(origin, key.public) + ed25519.sign(key.seed, text.encode())
        self.notes.append(f"{text}\n\u2014 {origin} {base64.b64encode(signed).decode()}\n")
        return tree

    def page(self, page):
        before = statements.hash_before_first(self.site) if not self.feed else self.feed_hash
        self.feed_hash = statements.hash_after(before, page)
        frame = self.statement("feed", site=self.site, cursor=len(self.feed) + 1, hash=self.feed_hash.hex(), time=TIME)
        self.feed.append((frame, page))

    def push(self, station, entries, exceptions=()):
        """Numbers entries, gives their verdict and a receipt."""
        first = len(self.leaves)
        for frame in entries:
            self.leaf(tenant_log.OPERATION, frame)
        self.receipt(station, [self.verdict(first, len(entries), exceptions)])


class Station:
    def __init__(self, tenant, number):
        self.tenant, self.id, self.branch = tenant, uuid_7(100 + number), 0
        self.knew, self.number = None, 0
        self.renew(f"station {number}")

    def renew(self, name):
        """A new key and its certificate."""
        self.key = Key(name)
        subject = {"type": "station", "id": self.id, "use": "operation", "site": self.tenant.site}
        self.certificate = self.tenant.certify("issuer", self.key, subject, hpke_key="09" * 32)

    def open(self, last=None):
        """A new epoch, with its first entry."""
        self.number, self.seq, self.head = self.number + 1, 0, self.certificate
        self.epoch = {"n": self.number, "id": hashlib.sha256(f"{self.id} {self.number}".encode()).hexdigest()[:32]}
        if self.number == 1:
            body = {"type": "station.enrolled", "certificate": self.certificate.hex(), "key_protection": "file"}
        else:
            body = {"type": "epoch.opened", "reason": "rolled_back", "last": last, "anchor": last}
        return self.append(body)

    def operation(self, body, **other):
        return {
            "v": 1, "alg": "ed25519", "key": self.key.id, "id": uuid_7(10_000 + self.seq), "tenant": self.tenant.tenant,
            "site": self.tenant.site, "station": self.id, "epoch": self.epoch, "seq": self.seq + 1, "prev": self.head.hex(),
            "at": {"wall": TIME, "offset_minutes": 60, "mono_ms": self.seq, "boot": uuid_7(7), "server": None, "clock": "ok"},
            "actor": "station", "role": None, "reason": None, "knew": self.knew, "state": {"before": None, "after": None},
            "program": {"version": "0.1.0", "build": "test", "config_sha256": "ab" * 32}, "body": body, **other}

    def append(self, body, **other):
        return self.append_frame(self.key.sign("lotgate/op/v1", self.operation(body, **other)))

    def append_frame(self, frame):
        self.tenant.entries.setdefault((self.id, self.number, self.branch), []).append(frame)
        self.head, self.seq = merkle.leaf_hash(frame), self.seq + 1
        return frame

    def scans(self, count):
        return [self.append({"type": "scan.accepted", "lot": f"L-{number}", "text": "Öl"}) for number in range(count)]

    def place(self):
        return {"epoch": self.epoch, "seq": self.seq, "hash": self.head.hex()}


def files_of(tenant, kind):
    """{path: bytes} of everything in an export but the manifest and its seal."""
    files = {
        "certificates.bin": b"".join(tenant.certificates), "verdicts.bin": b"".join(tenant.verdicts),
        "receipts.bin": b"".join(tenant.receipts), "statements.bin": b"".join(tenant.events),
        "checkpoints.txt": "\n".join(tenant.notes).encode(),
        "feed.bin": b"".join(len(part).to_bytes(4, "big") + part for pair in tenant.feed for part in pair)}
    if kind == "cloud":
        files["log.bin"] = b"".join(bytes([kind]) + digest for kind, digest in tenant.leaves)
    for (station, number, branch), entries in tenant.entries.items():
        first = strict_json.parse(frames.split(entries[0])[0])["seq"]
        name = f"{number}.{branch}" if branch else f"{number}"
        files[f"entries/{station}/{name}-{first}.bin"] = b"".join(entries)
    files |= {f"blobs/{hashlib.sha256(blob).hexdigest()}": blob for blob in tenant.blobs}
    return {path: data for path, data in files.items() if data}


def manifest_of(tenant, kind, station, files):
    ranges = []
    for (owner, number, branch), entries in sorted(tenant.entries.items()):
        first = strict_json.parse(frames.split(entries[0])[0])["seq"]
        ranges.append({"station": owner, "epoch": number, "branch": branch, "first": first, "last": first + len(entries) - 1})
    listed = [{"path": path, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
              for path, data in sorted(files.items())]
    return {"v": 1, "kind": kind, "tenant": tenant.tenant, "station": station, "root_fingerprint": tenant.fingerprint,
            "ranges": ranges, "files": listed}


def write(folder, tenant, kind="cloud", station=None, change=None, seal_by=None):
    """Writes an export; `change(files)` alters the files before they are hashed and sealed."""
    files = files_of(tenant, kind)
    if change:
        change(files)
    station_id = station.id if station else None
    manifest = strict_json.canonical(manifest_of(tenant, kind, station_id, files))
    key = seal_by or (station.key if station else tenant.keys["statement"])
    seal = key.sign("lotgate/export/v1", {
        "v": 1, "kind": "export", "tenant": tenant.tenant, "key": key.id, "station": station_id, "time": TIME,
        "manifest_sha256": hashlib.sha256(manifest).hexdigest()})
    for path, data in {**files, "manifest.json": manifest, "manifest.sig": seal}.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)
