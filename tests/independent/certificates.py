"""Certificates from the root fingerprint down (PROTOCOL §9.7, §9.8), and statements signed by the keys they certify."""

import hashlib

import ed25519
import frames
from merkle import leaf_hash
from strict_json import Unreadable

TENANT_USES = ("issuer", "log", "statement", "recovery")


class Trust:
    """The certificates of an export that can be traced to the root."""

    def __init__(self, tenant, findings):
        self.tenant = tenant
        self.findings = findings
        self.root_hash = None
        self.valid = {}      # leaf hash -> certificate
        self.by_key = {}     # key id -> [(certificate, leaf hash)]

    def load(self, raw_frames, fingerprint):
        """Accepts root first, then what it certifies, then what the issuer certifies."""
        read = [found for found in map(self._read, dict.fromkeys(raw_frames)) if found]
        roots = [one for one in read if self._is_root(one[0], fingerprint)]
        if not roots:
            self.findings.add("root_mismatch", f"no self-signed root certificate has the fingerprint {fingerprint}")
        for subjects, uses, signer in ((("tenant_key",), ("root",), "root"), (("tenant_key",), TENANT_USES, "root"),
                                       (("station", "person"), None, "issuer")):
            for certificate, frame in read:
                subject = certificate["subject"]
                if subject["type"] not in subjects or uses and subject["use"] not in uses:
                    continue
                if subject["use"] == "root" and subject["type"] == "tenant_key":
                    keys = [bytes.fromhex(c["public_key"]) for c, f in roots if f == frame]
                else:
                    keys = self.keys(certificate["key"], "tenant_key", signer)
                self._accept(certificate, frame, keys)
        for certificate, frame in read:
            if leaf_hash(frame) not in self.valid:
                self._invalid(certificate, f"not signed by a certified key for use {certificate['subject']['use']}")
        self._check_serials()

    def _read(self, frame):
        try:
            certificate = frames.read_statement(frames.split(frame)[0], "cert")
        except Unreadable as error:
            self.findings.add("statement_unreadable", f"certificate {leaf_hash(frame).hex()}: {error}")
            return None
        if certificate["tenant"] != self.tenant:
            self._invalid(certificate, f"of tenant {certificate['tenant']}")
            return None
        if certificate["not_after"] is not None and certificate["not_after"] < certificate["not_before"]:
            self._invalid(certificate, "ends before it begins")
            return None
        return certificate, frame

    def _is_root(self, certificate, fingerprint):
        public_key = bytes.fromhex(certificate["public_key"])
        return (certificate["subject"]["type"] == "tenant_key" and certificate["subject"]["use"] == "root"
                and certificate["key"] == frames.key_id(public_key) and hashlib.sha256(public_key).hexdigest() == fingerprint)

    def _accept(self, certificate, frame, keys):
        text, signature = frames.split(frame)
        message = frames.signed_bytes("lotgate/cert/v1", text)
        if not any(ed25519.verify(key, message, signature) for key in keys):
            return
        digest = leaf_hash(frame)
        self.valid[digest] = certificate
        self.by_key.setdefault(frames.key_id(bytes.fromhex(certificate["public_key"])), []).append((certificate, digest))
        if certificate["subject"]["use"] == "root":
            self.root_hash = self.root_hash or digest

    def _check_serials(self):
        seen = {}
        for certificate in self.valid.values():
            other = seen.setdefault(certificate["serial"], certificate)
            if other is not certificate:
                self._invalid(certificate, "its serial belongs to another certificate too")

    def _invalid(self, certificate, why):
        subject = certificate["subject"]
        self.findings.add("certificate_invalid", f"serial {certificate['serial']} for {subject['type']} {subject['id']}: {why}",
                          subject["id"] if subject["type"] == "station" else None)

    def keys(self, key_id, subject_type, use):
        """Public keys with this id that are certified for a use."""
        return [bytes.fromhex(certificate["public_key"]) for certificate, _ in self.by_key.get(key_id, [])
                if certificate["subject"]["type"] == subject_type and certificate["subject"]["use"] == use]

    def log_keys(self):
        return [bytes.fromhex(certificate["public_key"]) for certificate in self.valid.values()
                if certificate["subject"]["type"] == "tenant_key" and certificate["subject"]["use"] == "log"]

    def stations(self, station, key_id):
        """[(certificate, its hash)] of a station for one of its keys."""
        return [(certificate, digest) for certificate, digest in self.by_key.get(key_id, [])
                if certificate["subject"]["type"] == "station" and certificate["subject"]["id"] == station]

    def statement(self, frame, kind, keys_of=None):
        """The members of a statement that is readable, of this tenant and signed by a key that may; else None and a finding."""
        keys_of = keys_of or (lambda value: self.keys(value["key"], "tenant_key", "statement"))
        return self._signed(frame, kind, keys_of, lambda _: [frames.STATEMENTS[kind][0]])

    def event(self, frame):
        """The same for a statement of any other kind: signed by the root if it is a recovery of the log, else by statement."""
        def keys_of(value):
            return self.keys(value["key"], "tenant_key", "root" if value["kind"] == "log.recovered" else "statement")

        return self._signed(frame, None, keys_of, lambda value: frames.event_contexts(value["kind"]))

    def _signed(self, frame, kind, keys_of, contexts_of):
        name = f"{kind or 'statement'} {leaf_hash(frame).hex()}"
        try:
            text, signature = frames.split(frame)
            value = frames.read_statement(text, kind)
        except Unreadable as error:
            self.findings.add("statement_unreadable", f"{name}: {error}")
            return None
        station, keys = value.get("station"), keys_of(value)
        if value["tenant"] != self.tenant:
            self.findings.add("statement_unsigned", f"{name}: of tenant {value['tenant']}", station)
        elif not keys:
            self.findings.add("certificate_missing", f"{name}: key {value['key']} is not certified for it", station)
        elif not any(ed25519.verify(key, frames.signed_bytes(context, text), signature)
                     for key in keys for context in contexts_of(value)):
            self.findings.add("statement_unsigned", f"{name}, kind {value['kind']}", station)
        else:
            return value
        return None
