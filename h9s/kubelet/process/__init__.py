"""Pods as local process groups, for a machine without a container engine.

A container is a program of this machine: it sees the machine's files and processes, and cpu and memory
limits are not enforced (there are no cgroups here, and a limit on address space would break programs
that merely reserve it). What it has of its own: an address in 127.0.0.0/8 as POD_IP, its environment,
its working directory, its process group. It keeps running when the howbelet stops; under systemd that
takes `KillMode=process`. Needs no privileges.
"""
