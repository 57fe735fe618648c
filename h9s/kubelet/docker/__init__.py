"""Pods as containers of a Docker Engine on this machine.

A pod is a sandbox container, which owns the network namespace and with it the address, and the pod's
containers, which join it: a container may be restarted and the pod keeps its address.
"""
