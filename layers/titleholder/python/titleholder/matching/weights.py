"""The matcher's version and its table of weights."""

MATCHER_VERSION = "0.1"
