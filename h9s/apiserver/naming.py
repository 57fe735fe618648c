"""The names that the server gives: uids, and what replaces `metadata.generateName`.

Pure: randomness comes from outside.
"""

from __future__ import annotations

import random

from h9s.api import names

#: How many generated names are tried before giving up: with five random characters, one will do.
ATTEMPTS = 8


def new_uid(rng: random.Random) -> str:
    """A version 4 UUID."""
    bits = rng.getrandbits(128) & ~(0xF000 << 64 | 0xC000 << 48) | (0x4000 << 64 | 0x8000 << 48)
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def generated_name(base: str, *, seed: bytes, operation: int, attempt: int) -> str:
    """The name for an object with generateName `base`, at an attempt from 0 to ATTEMPTS - 1.

    It follows from the request's seed and the operation's place in it, so that every decision on a
    request, and whoever looks for what it did, comes to the same names.
    """
    rng = random.Random(b"%b/%d/%d" % (seed, operation, attempt))
    return base + names.random_suffix(rng)
