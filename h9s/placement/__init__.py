"""Which node a pod fits and prefers, and why not.

Pure: snapshots in, decisions out. No I/O, no clock, no randomness; whoever asks (the scheduler, or
somebody who wants to know why a pod waits) brings the snapshots along.
"""
