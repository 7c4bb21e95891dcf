"""Panels: what several judges said becomes one verdict.

`rules` is the arithmetic, `deciding` applies it to stored judgements, `needs` says which questions
can still change a pair, and `in_turn` asks only those.
"""
