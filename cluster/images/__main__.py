"""Makes the images that the tests and the example manifests run, where the Docker Engine lacks them."""

from __future__ import annotations

import sys

from docker.errors import DockerException

from cluster.images.busybox import BusyboxError
from cluster.images.engine import ensure_images, explain
from cluster.images.recipes import TEST_IMAGES


def main() -> int:
    """Returns the exit code."""
    try:
        made = ensure_images(TEST_IMAGES)
    except DockerException as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 1
    except BusyboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"images made: {', '.join(made)}" if made else "the test images are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
