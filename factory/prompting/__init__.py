"""Prompts and recorded data: how they are read, mapped, checked, kept and drawn."""
