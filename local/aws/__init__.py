"""The embedded AWS: an emulator, and the tools that build template.yaml and deploy it there."""
