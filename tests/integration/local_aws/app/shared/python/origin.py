"""Hidden by the function's module of the same name: code comes before layers."""

ORIGIN = "layer"
