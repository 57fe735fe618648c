"""h9s ("howbernetes"): a container orchestrator whose control plane does not go down."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("h9s")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"
