"""Verifier of the toy world: does an answer obey its instruction, exactly?

The arguments are the prompt's own `constraints`; nothing is compared with a stored answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping


def check(constraints: Mapping[str, object], text: str) -> bool:
    """Whether `text` obeys, ignoring white space around it.

    Raises:
        ValueError: when the constraints are not the toy world's.
    """
    kind, word = constraints.get("kind"), constraints.get("word")
    if not isinstance(word, str) or not word:
        raise ValueError(f"toy world constraints without a word: {dict(constraints)}")
    said = text.strip()
    if kind == "repeat":
        times = constraints.get("times")
        if not isinstance(times, int):
            raise ValueError(f"toy world repeat without times: {dict(constraints)}")
        return said == " ".join([word] * times)
    if kind == "spell":
        return said == ",".join(word)
    if kind == "dot":
        return said == word + "."
    raise ValueError(f"the toy world has no instruction {kind!r}")


def verify(prompt: Mapping[str, object], text: str) -> float:
    """1.0 when `text` obeys the prompt's `constraints` (a JSON string or an object), else 0.0.

    Raises:
        ValueError: when the prompt carries no toy-world constraints.
    """
    constraints = prompt.get("constraints")
    if isinstance(constraints, str):
        constraints = json.loads(constraints)
    if not isinstance(constraints, Mapping):
        raise ValueError("the prompt has no constraints for the toy world's verifier")
    return float(check(constraints, text))
