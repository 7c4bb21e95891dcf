"""Sampling engines, one file each; a file with `open_engine` is an engine. Nothing is registered."""
