"""Makes the images that the tests and the example manifests run, where the Docker Engine lacks them."""

from __future__ import annotations

import sys

from cluster.images.engine import ensure_images
from cluster.images.recipes import TEST_IMAGES
from h9s.errors import H9sError


def main() -> int:
    """Returns the exit code."""
    try:
        made = ensure_images(TEST_IMAGES)
    except H9sError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    print(f"images made: {', '.join(made)}" if made else "the test images are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
