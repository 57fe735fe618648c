"""Topologies of h9s, and the tools that run them. Not part of the product: nothing in `h9s` imports it."""
