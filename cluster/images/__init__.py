"""Container images made on this machine from a static busybox: no registry, no root, no build daemon."""
