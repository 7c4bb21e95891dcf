r"""MATH: the final expression equals the reference, decided by math-verify (sympy underneath).

The answer stands in `\boxed{}` or after "answer is"; a text without such a mark has no answer,
for the last formula of a text that was cut is not one. Argument `anywhere: true` takes it all the
same. Of several boxes the last is the answer, as MATH's own checker has it (arXiv 2103.03874), or
all of them together are (`\boxed{1}` and `\boxed{2}`). sympy can hang on a hostile expression, so
this verifier runs in a child process that is killed at its time limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from factory.judging.outcomes import Verdict, failed, good
from factory.judging.verifiers._read import NO_REFERENCE, args_of, reference_of

VERSION = "2"
ISOLATED = True

_MARK = re.compile(r"\\f?boxed|\\fbox|answer (?:is|:)|answer:", re.IGNORECASE)


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 where the answer is equivalent to the reference."""
    import math_verify

    reference = reference_of(prompt)
    if reference is None:
        return NO_REFERENCE
    # A dollar with a backslash before it is money, and opens no formula.
    if "\\boxed" not in reference and not re.search(r"(?<!\\)\$", reference):
        reference = f"\\boxed{{{reference}}}"
    # The time limit is the parent's: math-verify's own needs signals, and a handler of Python's
    # does not run while sympy sits in one long C call.
    gold = math_verify.parse(reference, parsing_timeout=0)
    if not gold:
        return failed("error", "reference_not_understood")
    if not args_of(prompt).get("anywhere") and not _MARK.search(text[-20_000:]):
        return good(0.0, reason="no_answer")
    given = math_verify.parse(text[-20_000:], parsing_timeout=0)
    if not given:
        return good(0.0, reason="no_answer")
    if math_verify.verify(gold, given, timeout_seconds=0):
        return good(1.0)
    # Boxes that stand close together are read as one set; a later one may have mended the first.
    last = text[-20_000:].rfind("\\boxed{")
    alone = math_verify.parse(text[-20_000:][last:], parsing_timeout=0) if last > 0 else []
    return good(float(bool(alone and math_verify.verify(gold, alone, timeout_seconds=0))))
