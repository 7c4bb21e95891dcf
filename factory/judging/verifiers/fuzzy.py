"""Fuzzy match: how alike the answer and the reference are, by words, in [0, 1].

The token F1 of SQuAD (arXiv 1606.05250): harmonic mean of word precision and recall, case and
punctuation ignored. Argument `at_least`, in (0, 1]: with it the score is 1 or 0, by that threshold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from factory.judging.outcomes import Verdict, failed, good
from factory.judging.verifiers._read import NO_REFERENCE, args_of, reference_of
from factory.judging.verifiers.exact import normal

VERSION = "3"


def token_f1(given: str, right: str) -> float:
    """F1 of the two texts' words, with multiplicity; without any, whether they are equal."""
    a = Counter(normal(given, ignore_case=True, ignore_punctuation=True).split())
    b = Counter(normal(right, ignore_case=True, ignore_punctuation=True).split())
    if not a and not b:
        return float(given.split() == right.split())
    shared = (a & b).total()
    return 2 * shared / (a.total() + b.total()) if shared else 0.0


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """The token F1, or 1.0 / 0.0 by the threshold."""
    reference, args = reference_of(prompt), args_of(prompt)
    if reference is None:
        return NO_REFERENCE
    score = token_f1(text, reference)
    least = args.get("at_least")
    if least is None:
        return good(score)
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 < least <= 1:
        return failed("error", "bad_argument")  # 80 would never be reached, and 0 always
    return good(float(score >= least))
