"""Fakes that work in memory: what tests and the simulation hand to the real code."""
