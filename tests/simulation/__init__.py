"""Simulation of faults: the real handlers in virtual time, with faults that are drawn from a seed."""
