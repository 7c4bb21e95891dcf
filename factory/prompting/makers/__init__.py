"""Makers of prompts: text files in `prompts/makers/` that ask a model to write new prompts."""
