"""Verifiers: programs that know whether an answer is right. One file each, no registry.

A verifier file has a docstring, `VERSION` (part of the judge's id: change it with the meaning) and
`verify(prompt, text)`, which gives a `Verdict`, or a number in [0, 1]. `prompt` is the prompt's row
(`messages`, `reference`, `constraints`) plus `args`, the arguments of the judge's file. A file with
`ISOLATED = True` runs in a child process under a time limit, because a library in it can hang.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from factory.errors import RecipeError
from factory.judging.outcomes import Verdict, failed, good

Verify = Callable[[Mapping[str, object], str], Verdict | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """One verifier file, loaded."""

    name: str
    version: str
    isolated: bool
    verify: Verify

    def __call__(self, prompt: Mapping[str, object], text: str) -> Verdict:
        """The verdict on one text; a verifier that raises is a verdict with status `error`."""
        try:
            return _verdict(self.verify(prompt, text))
        except Exception as error:  # one bad row never stops the rest
            return failed("error", f"verifier_raised_{type(error).__name__}")


def _verdict(value: Verdict | float | bool) -> Verdict:
    if isinstance(value, Verdict):
        return value
    score = float(value)
    return good(score) if 0 <= score <= 1 else failed("error", "score_outside_0_1")


def names() -> list[str]:
    """Every verifier's name, sorted."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(f.stem for f in files if not f.stem.startswith("_"))


@functools.cache
def find(name: str) -> Verifier:
    """The verifier of that name.

    Raises:
        RecipeError: when there is none; it names the nearest.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        hint = f", did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"there is no verifier {name!r}{hint}", next=f"choose one of: {', '.join(names())}"
        )
    module = importlib.import_module(f"{__name__}.{name}")
    return Verifier(
        name=name,
        version=str(getattr(module, "VERSION", "1")),
        isolated=bool(getattr(module, "ISOLATED", False)),
        verify=cast("Verify", module.verify),
    )
