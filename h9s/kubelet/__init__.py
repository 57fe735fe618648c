"""The howbelet: one per machine; runs the pods that are bound to it and reports what really happens."""

import os

# Processes are started from here beside gRPC's threads. gRPC's own handling of forks aborts the child
# now and then before it has become the new program; such a child needs none, as it only calls exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
