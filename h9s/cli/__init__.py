"""howbectl, the command line.

Start-up time is a feature here: nothing that `howbectl --help` or shell completion loads may import
grpc. Modules under `commands/` are loaded one at a time, by `root.py`, and reach the client through
`session.py` alone.
"""
