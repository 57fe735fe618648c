"""h9s ("howbernetes"): a container orchestrator whose control plane does not go down."""

import os

# gRPC's core writes lines of its own to stderr about every failed handshake. All of that reaches
# callers as exceptions, and it has to be said before anything imports gRPC.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

__version__: str


def __getattr__(name: str) -> str:
    # Looked up when asked for: reading package metadata takes longer than all else that
    # `howbectl --help` does.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("h9s")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0+unknown"
