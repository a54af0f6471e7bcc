"""The matcher's version, which each verdict names."""

MATCHER_VERSION = "2.1"
