"""What objects mean: kinds, keys, manifests, defaults, validation, labels and quantities.

Pure: no I/O, no clock, no randomness of its own. Every process imports this room; it imports only
the generated messages and the base modules.
"""
