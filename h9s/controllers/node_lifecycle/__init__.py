"""Nodes that are gone or silent: their pods are given up, so that owners replace them elsewhere."""
