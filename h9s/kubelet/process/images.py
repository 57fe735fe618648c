"""Which program an image stands for, where there are no images. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from h9s.kubelet.runtime import ImagePullError

#: An interpreter as light as it gets: no site packages, no environment, no user paths.
PYTHON = (sys.executable, "-S", "-E", "-I")
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Program:
    """What an image's ENTRYPOINT and CMD are to an engine. Both may be empty: the container's own
    arguments are then the command."""

    entrypoint: tuple[str, ...] = ()
    default_arguments: tuple[str, ...] = ()


PROGRAMS: Mapping[str, Program] = {
    # Commands of a container run with this machine's own tools.
    "busybox": Program(default_arguments=("sh",)),
    "h9s-hello": Program(entrypoint=(*PYTHON, str(_HERE / "hello.py"))),
}


def find(image: str) -> Program | None:
    """The program of an image, whatever its registry and tag say."""
    return PROGRAMS.get(image.partition("@")[0].rpartition("/")[2].partition(":")[0])


def command_line(image: str, command: Sequence[str], arguments: Sequence[str]) -> tuple[str, ...]:
    """What to run: the container's command and arguments as they stand with an image, or without one.
    Raises ImagePullError where there is neither."""
    if command:
        return (*command, *arguments)
    program = find(image)
    if program is None:
        raise ImagePullError("ErrImagePull", explanation(image))
    return (*program.entrypoint, *(arguments or program.default_arguments))


def explanation(image: str) -> str:
    """Why an image cannot be run here."""
    return (
        f"the process runtime has no images: it knows no program for {image!r} (it knows "
        f"{', '.join(sorted(PROGRAMS))}). Give the container a command of this machine, or use Docker"
    )
