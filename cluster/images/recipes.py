"""What is in the images: pure descriptions, and the archive that `docker import` takes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: The label that says which recipe an image was made from.
RECIPE_LABEL = "h9s.recipe"

HELLO_IMAGE = "h9s-hello:1"

# A shell is process 1: the kernel delivers no unhandled SIGTERM to that, so it must trap and pass on.
_HELLO = """\
#!/bin/sh
mkdir -p /www
echo "Hello from ${POD_NAME:-$(hostname)}" >/www/index.html
busybox httpd -f -p "${POD_IP:-0.0.0.0}:8080" -h /www &
server=$!
trap 'kill $server; exit 0' TERM INT
wait $server
"""

_WEB_SERVER = """\
#!/bin/sh
busybox httpd -f -p "${NGINX_PORT:-80}" -h /usr/share/nginx/html &
server=$!
trap 'kill $server; exit 0' TERM INT QUIT
wait $server
"""

_WEB_PAGE = "<!DOCTYPE html>\n<title>Welcome to nginx!</title>\n<h1>Welcome to nginx!</h1>\n"


@dataclass(frozen=True)
class Recipe:
    """An image on top of busybox: further files (those that start with "#!" executable), and its command."""

    command: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[int] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """Changes when the recipe does."""
        described = [list(self.command), dict(self.files), list(self.ports), dict(self.links)]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]

    def changes(self) -> list[str]:
        """The image's settings, as `docker import --change` takes them."""
        return [
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"CMD {json.dumps(list(self.command))}",
            f"LABEL {RECIPE_LABEL}={self.digest()}",
            *(f"EXPOSE {port}/tcp" for port in self.ports),
        ]


HELLO = Recipe(command=["/bin/hello"], files={"bin/hello": _HELLO}, ports=[8080])
SHELL = Recipe(command=["sh"], links={"bin/bash": "busybox"})
WEB = Recipe(
    command=["nginx", "-g", "daemon off;"],
    files={"usr/sbin/nginx": _WEB_SERVER, "usr/share/nginx/html/index.html": _WEB_PAGE},
    ports=[80],
    links={"bin/bash": "busybox"},
)

#: Stand-ins for the public images that manifests name most, so that those run where no registry is reached.
TEST_IMAGES: Mapping[str, Recipe] = {
    HELLO_IMAGE: HELLO,
    **{
        f"{name}:{tag}": SHELL
        for name, tags in {
            "busybox": ("latest", "1.28", "1.37"),
            "registry.k8s.io/busybox": ("latest", "1.27.2"),
            "alpine": ("latest",),
            "debian": ("latest",),
            "bash": ("latest",),
        }.items()
        for tag in tags
    },
    **{f"nginx:{tag}": WEB for tag in ("latest", "1.14.2", "1.15", "1.16.1")},
}


def root_archive(busybox: bytes, applets: Sequence[str], recipe: Recipe) -> bytes:
    """The image's root file system as a tar archive; the same input gives the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in (
            "bin",
            "dev",
            "etc",
            "proc",
            "root",
            "sbin",
            "sys",
            "tmp",
            "usr/bin",
            "usr/sbin",
            "var",
            "www",
        ):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        _add_file(archive, "bin/busybox", busybox, 0o755)
        for applet in sorted(set(applets) - {"busybox"}):
            _add_link(archive, f"bin/{applet}", "busybox")
        _add_file(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
        _add_file(archive, "etc/group", b"root:x:0:\n", 0o644)
        for path, target in sorted(recipe.links.items()):
            _add_link(archive, path, target)
        for path, text in sorted(recipe.files.items()):
            _add_file(archive, path, text.encode(), 0o755 if text.startswith("#!") else 0o644)
    return buffer.getvalue()


def _add_file(archive: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _add_link(archive: tarfile.TarFile, path: str, target: str) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)
