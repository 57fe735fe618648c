from __future__ import annotations

import io
import struct
import tarfile

from cluster.images.busybox import is_static_elf
from cluster.images.recipes import HELLO, TEST_IMAGES, root_archive


def elf(*header_types: int) -> bytes:
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, len(header_types))
    return bytes(head) + b"".join(struct.pack("<I52x", kind) for kind in header_types)


def test_a_program_without_an_interpreter_is_static():
    assert is_static_elf(elf(1, 1, 2))


def test_a_program_with_an_interpreter_is_not_static():
    assert not is_static_elf(elf(1, 3))


def test_a_script_and_a_truncated_program_are_not_static():
    assert not is_static_elf(b"#!/bin/sh\n")
    assert not is_static_elf(elf(1, 1)[:70])


def test_an_archive_holds_busybox_its_applets_and_the_recipes_files():
    with tarfile.open(fileobj=io.BytesIO(root_archive(b"program", ["sh", "busybox"], HELLO))) as archive:
        assert archive.getmember("bin/busybox").mode == 0o755
        assert archive.getmember("bin/sh").linkname == "busybox"
        assert archive.getmember("bin/hello").mode == 0o755
        content = archive.extractfile("bin/hello")
        assert content is not None
        assert b"POD_NAME" in content.read()


def test_an_archive_is_the_same_every_time():
    assert root_archive(b"x", ["b", "a"], HELLO) == root_archive(b"x", ["a", "b"], HELLO)


def test_every_image_has_a_tag_and_a_label_that_follows_its_recipe():
    for name, recipe in TEST_IMAGES.items():
        assert ":" in name
        assert any(change.startswith("LABEL h9s.recipe=") for change in recipe.changes())
    assert len({recipe.digest() for recipe in TEST_IMAGES.values()}) == 3
