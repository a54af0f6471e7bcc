"""One module for each use case: it reads what it needs, lets the domain decide, and writes."""
