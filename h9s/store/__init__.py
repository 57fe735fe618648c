"""The replicated state machine: a multi-version key-value store with etcd's semantics.

Pure: no I/O, no clock, no randomness, no asyncio. The same log gives the same state on every
replica, byte for byte. Time and randomness come inside the log entries, from their proposer.
"""
