"""Sampling: prompts and a model in, completions with their exact token ids out.

`base` is the protocol, `engines/` holds one file per engine, `identity` names a model by its
weights, `render` turns messages into token ids, `verb` walks a plan of shards and commits each one.
"""
