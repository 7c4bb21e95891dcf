"""Reporting: what the store holds and what a run did, as plain tables."""
