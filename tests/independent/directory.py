"""The directory of an export and its manifest (PROTOCOL §9.20)."""

import hashlib
import os
import re

import shapes
import strict_json
from strict_json import Unreadable

ENTRIES = re.compile(r"entries/([0-9a-f-]{36})/([1-9][0-9]{0,15})(?:\.([1-9][0-9]{0,15}))?-([1-9][0-9]{0,15})\.bin")
BLOB = re.compile(r"blobs/([0-9a-f]{64})")
KNOWN = ("certificates.bin", "verdicts.bin", "receipts.bin", "statements.bin", "checkpoints.txt", "feed.bin", "log.bin",
         "evidence.bin")
MANIFEST = {
    "v": shapes.one_of(1), "kind": shapes.one_of("queue", "recovered", "cloud"),
    "tenant": shapes.uuid_7, "station": shapes.OrNull(shapes.uuid_7), "root_fingerprint": shapes.HASH,
    "files": shapes.ListOf({"path": shapes.text, "sha256": shapes.HASH, "bytes": shapes.count}),
    "ranges": shapes.ListOf({"station": shapes.uuid_7, "epoch": shapes.positive, "branch": shapes.count,
                             "first": shapes.positive, "last": shapes.positive}),
}


class Directory:
    """Reads only files that the manifest names."""

    def __init__(self, path):
        self.path = path
        with open(os.path.join(path, "manifest.json"), "rb") as file:
            data = file.read()
        self.manifest_hash = hashlib.sha256(data).hexdigest()
        self.manifest = strict_json.parse(data)
        wrong = shapes.problem(MANIFEST, self.manifest)
        if wrong:
            raise Unreadable(wrong)
        paths = [file["path"] for file in self.manifest["files"]]
        if paths != sorted(set(paths)):
            raise Unreadable("files are not in ascending order, or one is named twice")
        kind, station = self.manifest["kind"], self.manifest["station"]
        if kind == "cloud" and station is not None or kind == "queue" and station is None:
            raise Unreadable("an export of a queue names its station, one of a cloud names none")
        for name in paths:
            if name not in KNOWN and not ENTRIES.fullmatch(name) and not BLOB.fullmatch(name):
                raise Unreadable(f"a path that an export cannot have: {name[:80]!r}")
        self.present = set()

    def check_files(self, findings):
        """Compares every file with the manifest."""
        for file in self.manifest["files"]:
            name, full = file["path"], os.path.join(self.path, file["path"])
            if os.path.islink(full) or not os.path.isfile(full):
                findings.add("file_missing", name)
                continue
            self.present.add(name)
            with open(full, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest != file["sha256"] or os.path.getsize(full) != file["bytes"]:
                findings.add("file_changed", name)
            blob = BLOB.fullmatch(name)
            if blob and blob[1] != digest:
                findings.add("blob_changed", name)
        listed = {file["path"] for file in self.manifest["files"]} | {"manifest.json", "manifest.sig"}
        for folder, _, names in os.walk(self.path):
            for name in sorted(names):
                relative = os.path.relpath(os.path.join(folder, name), self.path).replace(os.sep, "/")
                if relative not in listed:
                    findings.add("file_unlisted", relative)

    def open(self, name):
        return open(os.path.join(self.path, name), "rb")

    def read(self, name):
        """The bytes of a listed file; none if it is not there, which is a finding already if it should be."""
        if name not in self.present:
            return b""
        with self.open(name) as stream:
            return stream.read()

    def signature(self):
        """The bytes of manifest.sig, empty if there is none."""
        path = os.path.join(self.path, "manifest.sig")
        if not os.path.isfile(path):
            return b""
        with open(path, "rb") as stream:
            return stream.read()

    def entry_files(self):
        """[(station, epoch number, branch, first seq, path)] in the order of the chains."""
        found = [ENTRIES.fullmatch(name) for name in self.present]
        return sorted((match[1], int(match[2]), int(match[3] or 0), int(match[4]), match[0]) for match in found if match)
