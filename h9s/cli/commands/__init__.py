"""One module per command, loaded when the command is used; each has its click command as `COMMAND`.

Nothing here is imported by another command's module, and nothing here imports grpc.
"""
