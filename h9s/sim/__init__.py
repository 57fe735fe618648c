"""The cluster in one process on virtual time, with faults from a seed.

It runs the real code of `raft/` and `store/`; only the network, the disks and the clock are made up.
A failure is a number that anybody can replay: `./scripts/sim --seeds N..N`.
"""
