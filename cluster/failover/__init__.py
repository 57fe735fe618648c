"""The failover demonstration: kill the leader under load, and count what was lost.

Evidence is collected while it happens (`writer`, `watcher`, `containers`), and judged afterwards by
a pure function (`verdict`), against the one truth that the cluster itself tells at the end.
"""
