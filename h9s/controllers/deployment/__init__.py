"""Deployments: ReplicaSets, one per template, and the way from one to the next."""
