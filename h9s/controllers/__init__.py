"""The control loops: what users declare, made true and kept true.

Each controller is a pure function from an immutable snapshot to one atomic commit, and a thin shell
that says what wakes it and where its snapshot comes from (`controller.py` is the harness). Decisions
guard what they have read, so that a second copy of a controller, or one that acts on a cache that
lags behind, does no harm: its commit fails, and it decides again.
"""
