"""A whole cluster as processes of this machine: three apiservers, the loops, and workers.

`scripts/up` and `scripts/down`, the end-to-end tests, the failover demonstration and the benchmarks
all run their clusters through `LocalCluster`. It starts and stops processes; what the cluster does
is asked of the cluster through its API.
"""
