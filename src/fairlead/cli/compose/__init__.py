"""Compose files: read, interpolated and merged, each key with the place where it stands."""
