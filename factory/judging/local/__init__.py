"""Judges of our own: vLLM servers on loopback and reward models, started and ended with a verb."""
