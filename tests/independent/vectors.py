"""The project's vector files: every *.json in a folder named `vectors`, each case known by its members."""

import base64
import hashlib
import io
import json
import os

import ed25519
import frames
import shapes
import statements
from merkle import leaf_hash
from strict_json import Unreadable

# "All by the key of the seed 11 times 32" (the file of requests says so of itself).
REQUEST_KEY = ed25519.public_key(bytes([0x11]) * 32)


class Differs(Exception):
    """A vector on which this verifier disagrees; the text says in what."""


def must(true, what):
    if not true:
        raise Differs(what)


def signature(case):
    valid = ed25519.verify(*(bytes.fromhex(case[name]) for name in ("public_key", "message", "signature")))
    must(valid == case["valid"], f"valid is {valid} here")


def framed(case, context, read):
    """A frame whose seed is given: the hash, the JSON, and the signature made again byte for byte."""
    frame, seed = bytes.fromhex(case["entry"]), bytes.fromhex(case["seed"])
    text, given = frames.split(frame)
    message, key = frames.signed_bytes(context, text), ed25519.public_key(seed)
    value = read(text)
    must(leaf_hash(frame).hex() == case["hash"], f"hash is {leaf_hash(frame).hex()} here")
    must(case.get("json", text.decode("utf-8")) == text.decode("utf-8"), "the frame holds other JSON")
    must(value["key"] == frames.key_id(key), f"key id is {frames.key_id(key)} here")
    must(ed25519.verify(key, message, given), "the signature does not verify here")
    must(ed25519.sign(seed, message) == given, "the seed gives another signature here")


def operation(case):
    framed(case, "lotgate/op/v1", frames.read_operation)
    body = frames.read_operation(frames.split(bytes.fromhex(case["entry"]))[0])["body"]
    if body["type"] in shapes.LABELS:
        wrong = shapes.problem(shapes.LABELS[body["type"]], body)
        must(not wrong, f"the body is not as specified: {wrong}")


def statement(case):
    kind = frames.read_statement(frames.split(bytes.fromhex(case["entry"]))[0], None)["kind"]
    contexts = [frames.STATEMENTS[kind][0]] if kind in frames.STATEMENTS else frames.event_contexts(kind)
    must(case["context"] in contexts, f"kind {kind} is signed under {contexts} here")
    framed(case, case["context"], lambda text: frames.read_statement(text, kind if kind in frames.STATEMENTS else None))


def request(case):
    """An RFC 9421 signature base: signed as it is, its last line the parameters."""
    parameters = case["signature_input"].removeprefix("lotgate=")
    must(case["base"].endswith(f'\n"@signature-params": {parameters}'), "the base ends with other parameters")
    names = [line.split(": ")[0] for line in case["base"].split("\n")[:-1]]
    must(parameters.startswith(f"({' '.join(names)});"), "the parameters name other components")
    given = base64.b64decode(case["signature"].removeprefix("lotgate=:").removesuffix(":"), validate=True)
    must(ed25519.verify(REQUEST_KEY, case["base"].encode("ascii"), given), "the signature does not verify here")


def enrolment(case):
    """§9.9: lotgate/enrol/v1 over SHA-256(token) ‖ public key ‖ HPKE key."""
    digest = hashlib.sha256(case["token"].encode("ascii"))
    must(digest.hexdigest() == case["token_sha256"], f"the token's SHA-256 is {digest.hexdigest()} here")
    key = bytes.fromhex(case["public_key"])
    message = digest.digest() + key + bytes.fromhex(case["hpke_key"])
    must(message.hex() == case["message"], "the message is another one here")
    must(ed25519.verify(key, frames.signed_bytes("lotgate/enrol/v1", message), bytes.fromhex(case["proof"])),
         "the proof does not verify here")


def feed_page(case):
    first = statements.hash_before_first(case["site"])
    must(first.hex() == case["hash_0"], f"hash_0 is {first.hex()} here")
    after = statements.hash_after(first, case["page"].encode("utf-8"))
    must(after.hex() == case["hash_1"], f"hash_1 is {after.hex()} here")


def push(case):
    """§9.13: u32 m ‖ m bytes of JSON ‖ as many entries as it says. The entries of the vectors are no chain, by design."""
    data = bytes.fromhex(case["bytes"])
    size = int.from_bytes(data[:4], "big")
    head = json.loads(data[4:4 + size])
    must(set(head) == {"v", "epoch", "after", "count", "clock", "log"}, "the head has other members")
    entries = list(frames.read_frames(io.BytesIO(data[4 + size:])))
    must(len(entries) == head["count"], f"{len(entries)} entries are here")
    for entry in entries:
        text, given = frames.split(entry)
        frames.read_operation(text)
        must(ed25519.verify(REQUEST_KEY, frames.signed_bytes("lotgate/op/v1", text), given), "an entry does not verify here")


# The first whose members are all in the case.
KINDS = (
    ({"public_key", "message", "signature", "valid"}, signature),
    ({"entry", "hash", "seed", "context"}, statement),
    ({"entry", "hash", "seed"}, operation),
    ({"base", "signature", "signature_input"}, request),
    ({"token", "token_sha256", "public_key", "hpke_key", "message", "proof"}, enrolment),
    ({"site", "page", "hash_0", "hash_1"}, feed_page),
    ({"bytes"}, push),
)


def vector_files(root):
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "target")) and name != "node_modules")
        if os.path.basename(folder) == "vectors":
            yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".json"))


def check_vectors(root, findings):
    """Checks all files under `root`; a case of no known kind is a finding, so none is passed over in silence."""
    figures = {}
    for path in vector_files(root):
        with open(path, "rb") as file:
            content = json.load(file)
        cases = content["cases"] if isinstance(content, dict) and "cases" in content else [{"name": "no cases"}]
        for case in cases:
            check = next((check for members, check in KINDS if members <= set(case)), None)
            name = f"{os.path.basename(path)}: {case.get('name')}"
            try:
                if check is None:
                    findings.add("vector_unknown", name)
                else:
                    check(case)
            except (Differs, Unreadable, ValueError, KeyError) as error:
                findings.add("vector_differs", f"{name}: {error}")
        figures[os.path.basename(path)] = len(cases)
    if not figures:
        findings.add("vector_unknown", f"no vectors under {root}")
    return figures
