"""The embedded AWS: an emulator, and what builds and deploys the real template to it."""
