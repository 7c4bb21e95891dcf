"""Instructions: the answer follows every constraint of its prompt, as IFEval and IFBench check.

The prompt's constraints name them: `{"instruction_id_list": [...], "kwargs": [{...}, ...]}`, the
format of both benchmarks, which `prefactory import` keeps. Arguments of the judge's file: `loose`
(false; true forgives a first line, a last line and asterisks, as the benchmarks' loose scores do),
`partial` (false: 1.0 for all or 0.0; true: the share that is followed). The reason names the first
constraint that is broken. Keywords are patterns, so this runs in a child under a time limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from factory.judging.outcomes import Verdict, failed, good
from factory.judging.verifiers import _ifbench, _ifeval
from factory.judging.verifiers._read import args_of

VERSION = "2"
ISOLATED = True

CHECKS = _ifeval.CHECKS | _ifbench.CHECKS


def readings(text: str) -> Iterator[str]:
    """A text as the loose scores read it: without asterisks, first line, last line, or several."""
    lines = text.split("\n")
    parts = (lines, lines[1:], lines[:-1], lines[1:-1])
    whole = [text, *("\n".join(part).strip() for part in parts[1:])]
    yield from dict.fromkeys([*whole, *(part.replace("*", "") for part in whole)])


def follows(name: str, text: str, arguments: Mapping[str, Any], *, loose: bool = False) -> bool:
    """Whether a text follows one constraint; an empty text follows none.

    Raises:
        KeyError: for an unknown constraint, or an argument that it lacks.
    """
    check = CHECKS[name]
    known = {key: value for key, value in arguments.items() if value is not None}
    listed = readings(text) if loose else [text]
    return any(check(reading, known) for reading in listed if reading.strip())


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 where every constraint is followed, else 0.0 (or the share) and the first broken one."""
    args = args_of(prompt)
    names, kwargs = args.get("instruction_id_list"), args.get("kwargs")
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        return failed("error", "no_constraints")
    listed: list[Any] = list(kwargs) if isinstance(kwargs, Sequence) else [{}] * len(names)
    if len(listed) != len(names):
        return failed("error", "constraints_and_kwargs_differ")
    unknown = next((n for n in names if str(n) not in CHECKS), None)
    if unknown is not None:
        return failed("error", "unknown_constraint")
    loose = bool(args.get("loose"))
    try:
        kept = [
            follows(str(n), text, a or {}, loose=loose) for n, a in zip(names, listed, strict=True)
        ]
    except (KeyError, TypeError, ValueError, OverflowError, re.error):
        return failed("error", "bad_arguments")
    broken = next((str(n) for n, ok in zip(names, kept, strict=True) if not ok), "")
    score = sum(kept) / len(kept) if args.get("partial") else float(all(kept))
    return good(score, reason=broken)
