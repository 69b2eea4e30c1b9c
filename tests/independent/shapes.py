"""The shapes of what is read: which members an object has and what they look like (PROTOCOL §1, §9.1, §9.3)."""

import datetime
import re

from strict_json import LARGEST

ANY_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UUID_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
HEX = re.compile(r"([0-9a-f]{2})*")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


class Open(dict):
    """A shape whose object may have more members than are named."""


class OrNull:
    def __init__(self, shape):
        self.shape = shape


class ListOf:
    def __init__(self, shape):
        self.shape = shape


def problem(shape, value, where=""):
    """None if the value has the shape, else the path of the first place where it has not."""
    if isinstance(shape, OrNull):
        return None if value is None else problem(shape.shape, value, where)
    if isinstance(shape, ListOf):
        if type(value) is not list:
            return f"{where or 'value'} is no array"
        found = (problem(shape.shape, inner, f"{where}[{at}]") for at, inner in enumerate(value))
        return next((text for text in found if text), None)
    if not isinstance(shape, dict):
        return None if shape(value) else f"{where or 'value'} is not as it must be"
    if type(value) is not dict:
        return f"{where or 'value'} is no object"
    missing = shape.keys() - value.keys()
    if missing:
        return f"{where}.{min(missing)} is missing".lstrip(".")
    unknown = value.keys() - shape.keys()
    if unknown and not isinstance(shape, Open):
        return f"{where}.{min(unknown)} is unknown".lstrip(".")
    found = (problem(inner, value[name], f"{where}.{name}".lstrip(".")) for name, inner in shape.items())
    return next((text for text in found if text), None)


def text(value):
    return type(value) is str


def boolean(value):
    return type(value) is bool


def integer(value):
    return type(value) is int


def count(value):
    return type(value) is int and 0 <= value <= LARGEST


def positive(value):
    return count(value) and value > 0


def uuid(value):
    return text(value) and ANY_UUID.fullmatch(value) is not None


def uuid_7(value):
    return text(value) and UUID_7.fullmatch(value) is not None


def hex_of(length):
    return lambda value: text(value) and len(value) == 2 * length and HEX.fullmatch(value) is not None


def time(value):
    if not text(value) or TIME.fullmatch(value) is None:
        return False
    try:
        datetime.datetime.fromisoformat(value[:-1])
    except ValueError:
        return False
    return True


def day(value):
    if not text(value) or DAY.fullmatch(value) is None:
        return False
    try:
        datetime.date.fromisoformat(value)
    except ValueError:
        return False
    return True


def one_of(*values):
    return lambda value: type(value) in (str, int) and value in values


HASH = hex_of(32)
KEY_ID = hex_of(16)
EPOCH = {"n": positive, "id": hex_of(16)}
PLACE = {"epoch": EPOCH, "seq": positive, "hash": HASH}
TREE = {"size": count, "root": HASH}
BODY = Open(type=text)

# What keeps name and meaning in every version (§9.5).
ANY_OPERATION = Open(v=positive, alg=one_of("ed25519"), key=KEY_ID, tenant=uuid_7, station=uuid_7, epoch=EPOCH, seq=positive,
                     prev=HASH, body=BODY)
OPERATION = {
    "v": one_of(1), "alg": one_of("ed25519"), "key": KEY_ID, "id": uuid_7,
    "tenant": uuid_7, "site": uuid_7, "station": uuid_7,
    "epoch": EPOCH, "seq": positive, "prev": HASH,
    "at": {"wall": time, "offset_minutes": integer, "mono_ms": count, "boot": uuid,
           "server": OrNull({"time": time, "age_ms": count}), "clock": one_of("ok", "unsynced", "rolled_back", "accepted")},
    "actor": lambda value: value == "station" or uuid_7(value), "role": OrNull(text),
    "reason": OrNull({"code": text, "text": text}),
    "knew": OrNull({"snapshot": count, "hash": HASH, "age_ms": count, "log": OrNull(TREE)}),
    "state": {"before": OrNull(HASH), "after": OrNull(HASH)},
    "program": {"version": text, "build": text, "config_sha256": HASH},
    "body": BODY,
}
# Bodies about labels (§9.6).
LABELS = {
    "label.queued": {
        "type": text, "printer": {"role": one_of("printer"), "transport": text, "id": text, "simulated": boolean},
        "template": text, "language": text, "scan": uuid_7, "item": text, "lot": text,
        "snapshot_lot": {"status": one_of("released", "quarantine", "hold", "rejected"), "expiry": OrNull(day)},
        "serial": text, "copy": positive, "of": OrNull(uuid_7), "elements": ListOf({"ai": text, "value": text}),
        "sha256": HASH, "bytes": count},
    "label.state": {
        "type": text, "job": uuid_7,
        "state": one_of("sending", "sent", "confirmed", "unknown", "resolved_printed", "resolved_not_printed", "cancelled"),
        "evidence": OrNull(text), "cause": OrNull(text)},
}
EPOCH_OPENED = Open(reason=text, last=OrNull(PLACE), anchor=OrNull(PLACE))

STATEMENT = {"v": one_of(1), "kind": text, "tenant": uuid_7, "key": KEY_ID}
CERTIFICATE = dict(
    STATEMENT, serial=uuid_7,
    subject={"type": one_of("tenant_key", "station", "person"), "id": text, "use": text, "site": OrNull(uuid_7)},
    public_key=HASH, hpke_key=OrNull(HASH), training=boolean, roles=ListOf(text),
    not_before=time, not_after=OrNull(time), previous=OrNull(uuid_7), issued_at=time)
EVENT = Open(STATEMENT)
VERDICTS = Open(
    STATEMENT, first=count, count=count, supersedes=ListOf(count),
    exceptions=ListOf({"index": count, "verdict": one_of("accepted", "flagged", "quarantined"), "code": text}))
RECEIPT = Open(STATEMENT, station=uuid_7, epoch=EPOCH, through={"seq": positive, "hash": HASH}, verdicts=ListOf(HASH),
               previous=HASH, time=time)
FEED = Open(STATEMENT, site=uuid_7, cursor=count, hash=HASH, time=time)
EXPORT = Open(STATEMENT, station=OrNull(uuid_7), manifest_sha256=HASH, time=time)
