"""Simulation of faults: the real handlers, virtual time, and everything that can go wrong, drawn from a seed."""
