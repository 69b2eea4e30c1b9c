"""One export, checked from the root fingerprint alone (PROTOCOL §9.20)."""

import io

import chains
import epochs
import frames
import statements
import tenant_log
from certificates import Trust
from directory import Directory
from merkle import leaf_hash
from strict_json import Unreadable


def check_manifest(directory, trust, fingerprint, findings):
    """The export statement over the manifest, by the tenant's statement key or by the key of the station that exports."""
    manifest = directory.manifest
    if manifest["root_fingerprint"] != fingerprint:
        findings.add("root_mismatch", f"the manifest names the root {manifest['root_fingerprint']}")
    if manifest["kind"] == "recovered" and not directory.signature():
        return  # opened by the recovery keys: there is nobody to seal it
    try:
        signed = list(frames.read_frames(io.BytesIO(directory.signature())))
    except Unreadable as error:
        signed = []
        findings.add("statement_unreadable", f"manifest.sig: {error}")
    if len(signed) != 1:
        findings.add("manifest_unsigned", f"manifest.sig holds {len(signed)} statements")
        return

    def keys_of(statement):
        if manifest["station"] is None:
            return trust.keys(statement["key"], "tenant_key", "statement")
        return [bytes.fromhex(certificate["public_key"])
                for certificate, _ in trust.stations(manifest["station"], statement["key"])]

    statement = trust.statement(signed[0], "export", keys_of)
    if statement is None:
        findings.add("manifest_unsigned", "manifest.sig was not accepted")
    elif statement["manifest_sha256"] != directory.manifest_hash or statement["station"] != manifest["station"]:
        findings.add("manifest_unsigned", "manifest.sig is for another manifest")


def cut(data, name, findings):
    """The frames of a file, as far as it can be cut into frames."""
    found = []
    try:
        for frame in frames.read_frames(io.BytesIO(data)):
            found.append(frame)
    except Unreadable as error:
        findings.add("statement_unreadable", f"{name}: {error}")
    return found


def check_export(path, fingerprint, findings, pool=None):
    """Adds to `findings` everything that is wrong, and returns figures of what was checked. OSError and Unreadable mean
    that there is no export to check."""
    directory = Directory(path)
    manifest = directory.manifest
    directory.check_files(findings)

    trust = Trust(manifest["tenant"], findings)
    certificates = cut(directory.read("certificates.bin"), "certificates.bin", findings)
    trust.load(certificates, fingerprint)
    check_manifest(directory, trust, fingerprint, findings)

    walk = chains.Walk(manifest["tenant"], trust, findings, pool)
    for station, number, branch, first, name in directory.entry_files():
        if manifest["station"] not in (None, station):
            findings.add("file_misnamed", f"{name} in an export of station {manifest['station']}", station)
        with directory.open(name) as stream:
            walk.add_file(stream, station, number, branch, first)

    events = statements.Events(directory.read("statements.bin"), trust, findings)
    verdicts = statements.read_all(directory.read("verdicts.bin"), "verdict.batch", trust, findings)
    receipts = statements.read_all(directory.read("receipts.bin"), "receipt", trust, findings)
    verdict_hashes = {digest for _, digest in verdicts}
    whole = manifest["kind"] == "cloud"
    epochs.check_epochs(walk.chains, whole, events.forks, findings)
    epochs.check_ranges(walk.chains, manifest["ranges"], findings)
    epochs.check_receipts(receipts, walk.chains, verdict_hashes, findings)
    if whole:
        epochs.check_receipts_whole(receipts, walk.chains, findings)
    epochs.check_beginnings(walk.chains, receipts, findings)
    statements.check_verdicts(verdicts, events.undone, findings)
    statements.check_feed(directory.read("feed.bin"), walk.feed_quotes, trust, findings)

    checkpoints = tenant_log.read_checkpoints(directory.read("checkpoints.txt"), manifest["tenant"], trust.log_keys(), findings)
    log = None
    if whole:
        try:
            log = tenant_log.read_log(directory.read("log.bin"), trust.root_hash)
        except Unreadable as error:
            findings.add("log_unreadable", str(error))
    tenant_log.check_roots(log, checkpoints, walk.log_quotes, events.undone, findings)
    if log is not None:
        tenant_log.check_leaves(log, walk.chains, set(map(leaf_hash, certificates)), verdict_hashes, events.hashes, findings)
        tenant_log.check_coverage(log, verdicts, findings)
    evidence = cut(directory.read("evidence.bin"), "evidence.bin", findings)
    return {"stations": len({chain.station for chain in walk.chains.values()}), "epochs": len(walk.chains),
            "entries": sum(len(chain.hashes) for chain in walk.chains.values()), "certificates": len(certificates),
            "verdicts": len(verdicts), "receipts": len(receipts), "statements": len(events.hashes),
            "checkpoints": len(checkpoints), "leaves": None if log is None else len(log), "evidence (not judged)": len(evidence)}
