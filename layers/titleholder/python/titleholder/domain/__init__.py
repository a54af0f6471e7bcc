"""Values and decisions: no I/O, no clock, nothing of third parties."""
