"""Frames and what is signed in them (PROTOCOL §9.2, §9.7): u32 big-endian n ‖ n bytes of JSON ‖ 64 bytes signature."""

import hashlib

import shapes
import strict_json
from strict_json import Unreadable

LARGEST_FRAME = 32_768
# kind of a statement: (the context it is signed under, its shape)
STATEMENTS = {
    "cert": ("lotgate/cert/v1", shapes.CERTIFICATE),
    "verdict.batch": ("lotgate/verdict/v1", shapes.VERDICTS),
    "receipt": ("lotgate/receipt/v1", shapes.RECEIPT),
    "feed": ("lotgate/feed/v1", shapes.FEED),
    "export": ("lotgate/export/v1", shapes.EXPORT),
}
# Contexts of all other statements. Which kinds there are may grow, so the kind is matched by its word.
EVENTS = ("fork", "recovered", "retired", "rotated", "recovery", "time", "nonce", "enrol")


def event_contexts(kind):
    """The contexts that a statement of some other kind may be signed under."""
    return [f"lotgate/{word}/v1" for word in EVENTS if word in kind] or [f"lotgate/{word}/v1" for word in EVENTS]


def key_id(public_key):
    """First 16 bytes of SHA-256(public key), as hex (§9.1)."""
    return hashlib.sha256(public_key).hexdigest()[:32]


def signed_bytes(context, text):
    return context.encode("ascii") + b"\x00" + text


def split(frame):
    """(JSON bytes, signature) of one whole frame."""
    size = int.from_bytes(frame[:4], "big")
    if len(frame) > LARGEST_FRAME:
        raise Unreadable(f"a frame of {len(frame)} bytes; at most {LARGEST_FRAME} are allowed")
    if len(frame) < 68 or len(frame) != size + 68:
        raise Unreadable(f"{len(frame)} bytes for a frame that says n = {size}")
    return frame[4:4 + size], frame[4 + size:]


def read_frames(stream):
    """The frames of a file that holds them back to back; Unreadable where the file can no longer be cut into frames."""
    at = 0
    while head := stream.read(4):
        size = int.from_bytes(head, "big")
        if len(head) == 4 and size + 68 > LARGEST_FRAME:
            raise Unreadable(f"at byte {at}: a frame that says n = {size}")
        rest = stream.read(size + 64) if len(head) == 4 else b""
        if len(rest) != size + 64 or len(head) != 4:
            raise Unreadable(f"at byte {at}: the file ends within a frame")
        yield head + rest
        at += size + 68


def read_operation(text):
    """The members of an operation read strictly (§9.3, §9.5). An unknown `v` is read by what keeps its meaning."""
    value = strict_json.parse(text)
    version = value.get("v") if isinstance(value, dict) else None
    wrong = shapes.problem(shapes.OPERATION if version == 1 else shapes.ANY_OPERATION, value)
    if wrong:
        raise Unreadable(wrong)
    if version == 1 and (value["actor"] == "station") != (value["role"] is None):
        raise Unreadable("role is null exactly for the actor \"station\"")
    return value


def read_statement(text, kind):
    """The members of a statement of a kind, or of any kind for None, read strictly."""
    value = strict_json.parse(text)
    wrong = shapes.problem(STATEMENTS[kind][1] if kind else shapes.EVENT, value)
    if wrong:
        raise Unreadable(wrong)
    if kind and value["kind"] != kind:
        raise Unreadable(f"kind is {value['kind']} where {kind} must be")
    return value
