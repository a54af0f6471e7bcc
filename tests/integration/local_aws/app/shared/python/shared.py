"""A layer of our own: importable by every function, shadowed by a module of the same name in a function's code."""

ORIGIN = "layer"
