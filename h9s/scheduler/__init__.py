"""Assigns pods to nodes: waits for pods without one, asks `h9s.placement`, binds.

Driven by events alone: a pod is looked at when it appears, and one that fits nowhere when something
has changed that may make it fit.
"""
