"""Judging: verifiers, LLM judges and the paid calls they make.

A judge is a file of judges/; `verb.judge` asks it about completions and appends `judgements`.
"""
