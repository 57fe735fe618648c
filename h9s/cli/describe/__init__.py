"""`howbectl describe`: everything about one object for people to read, its events at the end.

Pure: a describer turns an object and what belongs to it into a `Sheet`; who fetches that is
`commands/describe.py`.
"""
