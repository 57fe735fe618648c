"""The API over the replicated store: gRPC services, the decisions behind a Commit, watches, node liveness.

What an object means is `h9s.api`'s business; how a transaction is replicated is the store's. This
room decides who may do what, turns operations into transactions, and serves what was applied.
"""
