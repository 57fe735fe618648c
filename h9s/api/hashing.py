"""The hash that tells pod templates apart: part of the names of a Deployment's ReplicaSets.

It is stored in names and labels: changing the algorithm makes every Deployment roll out again.
"""

from __future__ import annotations

import hashlib

from h9s._pb import core_pb2

#: No vowels, and no digits that look like them: no accidental words.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_LENGTH = 10


def template_hash(template: core_pb2.PodTemplateSpec, collision_count: int = 0) -> str:
    """Ten characters, safe in DNS names and labels: equal templates and counts give equal hashes.

    A caller that finds its name taken by another template tries again with a higher
    `collision_count`.
    """
    digest = hashlib.sha256(template.SerializeToString(deterministic=True))
    if collision_count:
        digest.update(collision_count.to_bytes(4, "big"))
    return _text(int.from_bytes(digest.digest()[:16], "big"))


def _text(number: int) -> str:
    characters = []
    for _ in range(_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[index])
    return "".join(characters)
