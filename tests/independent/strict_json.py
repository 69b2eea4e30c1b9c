"""Strict reading of JSON (PROTOCOL §1, §9.5): UTF-8 without BOM, no duplicate member, integers of at most 2^53 − 1, no
floats, RFC 8785 form."""

import json

LARGEST = 2**53 - 1


class Unreadable(Exception):
    """Bytes that the protocol does not allow; the text says why."""


def utf16_order(name):
    # RFC 8785 orders members by UTF-16 code units; big-endian bytes compare the same way.
    return name.encode("utf-16-be", "surrogatepass")


def integer(text):
    # int() of Python 3.11 refuses very long digits with ValueError; the length check makes that explicit.
    if len(text) > 17 or abs(int(text)) > LARGEST:
        raise Unreadable("an integer past ±(2^53 − 1)")
    return int(text)


def no_float(text):
    raise Unreadable(f"a number that is no integer: {text[:20]}")


def unique_members(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Unreadable("a member twice in one object")
    return result


def canonical(value):
    """The RFC 8785 bytes of a value made of objects, arrays, strings, integers, true, false and null."""
    def ordered(part):
        if isinstance(part, dict):
            return {name: ordered(part[name]) for name in sorted(part, key=utf16_order)}
        if isinstance(part, list):
            return [ordered(inner) for inner in part]
        return part

    # Python's writer escapes exactly as RFC 8785 3.2.2.2 does when it may write all of Unicode as it is.
    return json.dumps(ordered(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def parse(data):
    """The value of bytes that are its RFC 8785 form; all others are refused."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique_members, parse_int=integer,
                           parse_float=no_float, parse_constant=no_float)
        written = canonical(value)
    except UnicodeError as error:
        raise Unreadable("not UTF-8, or half a surrogate pair") from error
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from error
    if written != data:
        raise Unreadable("not in RFC 8785 form")
    return value
