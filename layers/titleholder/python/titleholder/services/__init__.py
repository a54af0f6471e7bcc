"""One module for each use case. It reads the facts, lets the domain decide, and writes the result."""
