"""Prefactory: a factory for on-policy preference data."""

__version__ = "0.1.0"
