"""Ed25519 by the strict rules of PROTOCOL §1, in integers alone.

A signature (R, S) of a message by the key A is valid if
  S < L, A and R are canonical encodings of points that are not of small order, and
  S·B = R + k·A, with k = SHA-512(R ‖ A ‖ message) mod L, without the cofactor.

This code is not constant-time. `sign` exists for vectors and tests, never for a real key.
"""

import functools
import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)

# A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, x·y = T/Z. The addition law below is complete on this curve:
# it holds for every pair of points, torsion, identity and equal points included.
IDENTITY = (0, 1, 1, 0)


def prepared(point):
    """The form of a point in which `add` takes its second operand."""
    x, y, z, t = point
    return (y + x) % P, (y - x) % P, 2 * z % P, 2 * D * t % P


def add(point, other):
    """point + other, `other` prepared."""
    x, y, z, t = point
    plus, minus, z2, t2d = other
    a = (y - x) * minus % P
    b = (y + x) * plus % P
    c = t * t2d % P
    d = z * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def encode(point):
    """The canonical 32 bytes of a point."""
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def decode(data):
    """The point of 32 bytes, or None if they are no point or not its canonical encoding."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if len(data) != 32 or y >= P:
        return None
    # x² = (y² − 1) / (d·y² + 1)
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * SQRT_MINUS_ONE % P
    if v * x * x % P != u:
        return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def is_small_order(point):
    """Whether 8·point is the identity."""
    for _ in range(3):
        point = add(point, prepared(point))
    x, y, z, _ = point
    return x == 0 and y == z


def multiples(point):
    """rows[i][j] = j·16^i·point, prepared: a multiplication is then 64 additions."""
    rows = []
    for _ in range(64):
        step, row, current = prepared(point), [prepared(IDENTITY)], IDENTITY
        for _ in range(15):
            current = add(current, step)
            row.append(prepared(current))
        rows.append(row)
        point = add(current, step)
    return rows


def multiply(rows, scalar, start=IDENTITY):
    """start + scalar·point, for 0 ≤ scalar < 2^256."""
    for row in rows:
        digit = scalar & 15
        if digit:
            start = add(start, row[digit])
        scalar >>= 4
    return start


# The base point is the one with y = 4/5 and even x.
BASE = multiples(decode((4 * pow(5, -1, P) % P).to_bytes(32, "little")))


@functools.lru_cache(maxsize=64)
def minus_key(public_key):
    """Multiples of −A, or None if A is not canonical or of small order."""
    point = decode(public_key)
    if point is None or is_small_order(point):
        return None
    x, y, z, t = point
    return multiples((P - x, y, z, P - t))


def verify(public_key, message, signature):
    """Whether the 64 bytes are a valid signature of the message by the key of 32 bytes."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L:
        return False
    rows = minus_key(public_key)
    if rows is None:
        return False
    k = int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % L
    expected = multiply(rows, k, multiply(BASE, s))
    # `encode` gives canonical bytes only, so equality also says that R is canonical and on the curve.
    return encode(expected) == r and not is_small_order(expected)


def verify_job(job):
    """`verify` of one (public key, message, signature): the form that a process pool takes."""
    return verify(*job)


def verify_many(jobs, pool=None):
    """One truth value for each job, in order; each signature is verified by itself, never in a batch."""
    if pool is None or len(jobs) < 64:
        return [verify_job(job) for job in jobs]
    return pool.map(verify_job, jobs, chunksize=32)


def expand(seed):
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little")
    return scalar & ~(7 | 3 << 254) | 1 << 254, digest[32:]


def public_key(seed):
    """The public key of a seed of 32 bytes."""
    return encode(multiply(BASE, expand(seed)[0]))


def sign(seed, message):
    """The signature of RFC 8032 by a seed: deterministic."""
    scalar, prefix = expand(seed)
    own = public_key(seed)
    nonce = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % L
    r = encode(multiply(BASE, nonce))
    k = int.from_bytes(hashlib.sha512(r + own + message).digest(), "little") % L
    return r + ((nonce + k * scalar) % L).to_bytes(32, "little")
