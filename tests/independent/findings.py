"""What can be found, as a closed list of codes, and the list that collects it."""

import json

MEANINGS = {
    "manifest_unreadable": "manifest.json cannot be read strictly; nothing else was checked",
    "manifest_unsigned": "manifest.sig does not sign this manifest by a key that may",
    "file_missing": "a file of the manifest is not there",
    "file_changed": "a file has other bytes than the manifest says",
    "file_unlisted": "a file that the manifest does not name",
    "file_misnamed": "a file's name does not fit what is in it",
    "blob_changed": "a blob's bytes do not have the SHA-256 of its name",
    "root_mismatch": "no root certificate with the given fingerprint",
    "certificate_invalid": "a certificate that cannot be traced to the root",
    "certificate_missing": "a key signed something and no valid certificate for that use is in the export",
    "entry_unreadable": "an entry that is cut, too long or not strictly readable",
    "entry_foreign": "an entry of another tenant, site, station, epoch or key than its chain's",
    "entry_unsigned": "an entry whose signature does not verify",
    "chain_broken": "prev is not the hash of the entry before, or of the station certificate",
    "chain_gap": "entries or epochs are missing within a station's chain",
    "entry_repeated": "the same entry twice",
    "fork": "two different entries for one station, epoch and seq",
    "epoch_contradiction": "an epoch's opening disagrees with the export, or two epochs share an id",
    "range_mismatch": "the manifest's ranges are not what the entries are",
    "statement_unreadable": "a verdict, receipt, feed or certificate frame that is not strictly readable",
    "statement_unsigned": "a statement whose signature does not verify",
    "receipt_contradiction": "a receipt names another hash than the entry, or than another receipt, has",
    "receipt_missing": "the receipts of a cloud leave out one, or do not reach the end of a chain",
    "entries_missing": "a receipt covers entries that should be in the export and are not",
    "verdict_missing": "an operation without a verdict, or a receipt's verdict that is not there",
    "verdict_contradiction": "a verdict that stands in the wrong place, or a second one that supersedes nothing",
    "checkpoint_unreadable": "checkpoints.txt is not a row of signed notes by the tenant's log key",
    "checkpoint_mismatch": "a checkpoint disagrees with the tree or with another checkpoint",
    "checkpoint_missing": "leaves of the log that no checkpoint covers",
    "log_unreadable": "log.bin is not a row of leaf records, or does not begin with the root certificate",
    "log_mismatch": "the log's leaves and the exported frames are not the same",
    "knew_mismatch": "what an entry quotes in knew is not what the log or the feed has",
    "feed_broken": "feed pages and feed statements do not form one hash chain",
    "vector_differs": "this verifier does not agree with a vector of the project",
    "vector_unknown": "a vector that this verifier does not know how to check",
}


class Findings:
    def __init__(self):
        self.all = []

    def add(self, code, detail, station=None, epoch=None, seq=None):
        if code not in MEANINGS:
            raise KeyError(code)
        self.all.append({"code": code, "station": station, "epoch": epoch, "seq": seq, "detail": detail})

    def codes(self):
        return {finding["code"] for finding in self.all}


def as_json(finding):
    return json.dumps(finding)


def as_words(finding):
    place = " ".join(f"{name} {finding[name]}" for name in ("station", "epoch", "seq") if finding[name] is not None)
    line = f"{finding['code']}: {MEANINGS[finding['code']]}. {place + ': ' if place else ''}{finding['detail']}"
    # Details quote bytes of the export, which must not steer the reader's terminal.
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
