"""Consensus: PySyncObj made trustworthy, and a replicated store on top of it.

The only room that imports the engine. What has to hold is listed as invariants in
`docs/architecture.md`; each module says which of them it keeps:

- `engine` holds every reach into PySyncObj's private parts, per instance;
- `guard` stands between engine and network and lets nothing through that breaks an invariant;
- `journal` on `storage` is the log, the term and the vote on disk;
- `node` drives the engine from asyncio; `read_index` answers linearizable reads;
- `links` carries messages between replicas over mTLS;
- `replicated_store` puts the state machine on top, with group commit.
"""
