"""Hides the layer's module of the same name."""

ORIGIN = "code"
