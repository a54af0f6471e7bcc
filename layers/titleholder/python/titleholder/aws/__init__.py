"""One module for each AWS service, without business terms."""
