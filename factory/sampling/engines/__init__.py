"""Sampling engines, one file each. A file with `open_engine` is an engine."""
