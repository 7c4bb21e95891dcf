"""Evidence, summed over up to three sentences, that a text speaks to its judge, in any wording.

Patterns find the wordings that somebody foresaw. Here every word has roles (`roles`), and what
meets in a sentence is added up: its words, its neighbouring words, its roles and every two roles.
The weights are data, `weights.tsv`: the mean of logistic regressions over texts written for it,
attacks and honest talk of marks and judges, and over ordinary answers under MIT and Apache
licences. `bench/injection/` holds the texts and the script that makes the weights.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import cache, cached_property, lru_cache, reduce
from itertools import combinations, pairwise, product
from operator import or_
from pathlib import Path

from factory.judging.verifiers._injection.roles import (
    ACTING,
    BIT,
    COMMON,
    ROLES,
    TOKEN,
    UNSPACED,
    any_language,
    is_english,
    phrases,
    roles_in,
)

_STRONG = tuple(
    role
    for role in ROLES
    if role in {"grader", "judge", "score", "rubric", "self", "rival", "your_score"}
    or role.startswith(("address", "machine_"))
)
_WEAK = tuple(
    role for role in ROLES if role not in _STRONG and role not in {"to", "this", "other", "text"}
)
_KEYS = sum(BIT[role] for role in _STRONG)
"""Roles without which a sentence is not weighed, and what is weighed only beside one of them."""
_ALONE = sum(BIT[role] for role in ("grader", "judge", "score", "rubric"))
_WHICH = BIT["this"] | BIT["other"] | (_NUMBERED := 1 << len(ROLES))
_SEEDS = _ALONE | BIT["text"] | BIT["this"] | BIT["other"] | BIT["machine"]
_ACTS = 2 << len(ROLES)
"""Of which roles of words those of `_KEYS` are made: one of `_ALONE`, a text with what says which,
a machine with what it does."""
_MOST_WORDS, _LEAST_SPREAD = 60, 100.0
_TOGETHER = 3
_MOST_TOGETHER = {2: 50, 3: 70}
_MOST_OF_A_PROMPT = 10_000
_SPACED = str.maketrans(dict.fromkeys("!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'", " "))
_SENTENCE = re.compile(
    r"(?<=[.!?;\u2026])['\"\u201d)\]*]*\s+|\n+|[\u3002\uff01\uff1f!?\u0964\u06d4\u061f]+|\s[\u2192|]\s"
)


def words_in(tokens: list[str]) -> list[str]:
    """The words of a sentence, without the most common, and every two that follow each other."""
    words = [t for t in tokens if t[0].isalnum() or ord(t[0]) > 0x8FF or t in "[{<$%"]
    words = words[:_MOST_WORDS]
    twos = (f"{a} {b}" for a, b in pairwise(words) if a not in COMMON or b not in COMMON)
    return [*(word for word in words if word not in COMMON), *twos]


@lru_cache(maxsize=1 << 14)
def names(bits: int) -> tuple[str, ...]:
    """The features of a set of roles: the strong ones, and each of them with every other."""
    strong = [role for role in _STRONG if bits & BIT[role]]
    weak = [role for role in _WEAK if bits & BIT[role]]
    twos = (*combinations(strong, 2), *product(strong, weak))
    return (*(f"@{a}" for a in strong), *(f"@{a}+{b}" for a, b in twos))


class _Sentence:
    """A sentence whose words and roles are found only where they are asked for."""

    def __init__(self, text: str, *, amid: Callable[[], bool]) -> None:
        self.text, self.amid = text, amid
        self.may_weigh = _may_weigh(text)

    @cached_property
    def tokens(self) -> list[str]:
        """Its words and marks."""
        return TOKEN.findall(self.text)

    @cached_property
    def roles(self) -> int:
        """The roles in it, as bits."""
        return roles_in(self.text, self.tokens, amid_english=self.amid())

    @cached_property
    def words(self) -> frozenset[str]:
        """Its words and every two of them."""
        return frozenset(words_in(self.tokens))


@lru_cache(maxsize=1 << 16)
def _seed(token: str) -> int:
    """What a word can add to a role of `_KEYS`, as bits of `_SEEDS`, `_NUMBERED` and `_ALONE`."""
    return (
        any_language(token) & _SEEDS
        | (_NUMBERED if token in {"a", "b", "1", "2"} else 0)
        | (_ALONE if token in _first_words() else 0)
        | (_ACTS if token in ACTING else 0)
    )


def _may_weigh(text: str) -> bool:
    """Whether words can make a role of `_KEYS` together: never no where `roles_in` finds one."""
    if text.isascii():
        tokens = text.translate(_SPACED).split()
    elif UNSPACED.search(text):
        return True
    else:
        tokens = TOKEN.findall(text)
    found = 0
    for bits in map(_seed, set(tokens)):
        found |= bits
    return bool(
        found & _ALONE
        or (found & BIT["text"] and found & _WHICH)
        or (found & BIT["machine"] and found & _ACTS)
    )


@cache
def _first_words() -> frozenset[str]:
    """The words with which a phrase begins that has a key role or helps to make one."""
    first = (TOKEN.findall(phrase)[0] for phrase, bits in phrases() if bits & _SEEDS)
    return frozenset({"mine", "me", *first})


def windows(text: str, *, every: bool = False) -> Iterator[tuple[frozenset[str], int]]:
    """Words and roles of each sentence that is worth weighing, alone and with the one before.

    `every` gives the others as well, which the weights are learned against.
    """
    if not every and not _may_weigh(text):
        return
    amid = cache(lambda: is_english(TOKEN.findall(text[:2_000])))
    before: list[_Sentence] = []
    for piece in _SENTENCE.split(text):
        if not piece or not piece.strip():
            continue
        here = _Sentence(piece[:600], amid=amid)
        before = [*before[1 - _TOGETHER :], here]
        for first in range(len(before) - 1, -1, -1):
            run = before[first:]
            if not every and not any(s.may_weigh for s in run):
                continue
            if len(run) > 1 and sum(len(s.tokens) for s in run) > _MOST_TOGETHER[len(run)]:
                break
            roles = reduce(or_, (s.roles for s in run))
            if every or roles & _KEYS:
                yield frozenset().union(*(s.words for s in run)), roles


def asks_for_judging(text: str) -> bool:
    """Whether a sentence of a folded prompt asks to judge a text: its answer may say so too."""
    wanted = BIT["text"] | BIT["demand"]
    for piece in _SENTENCE.split(text[:_MOST_OF_A_PROMPT]):
        if tokens := TOKEN.findall(piece or ""):
            bits = roles_in(piece, tokens, amid_english=True)
            if bits & wanted == wanted and bits & (BIT["process"] | BIT["score"] | BIT["rubric"]):
                return True
    return False


@cache
def weights() -> dict[str, float]:
    """Feature -> weight, and under the empty name what every window starts from."""
    lines = Path(__file__).with_name("weights.tsv").read_text("utf-8").splitlines()
    return {name: float(value) for name, value in (line.split("\t") for line in lines)}


def spread(features: int) -> float:
    """What a sum over that many features is divided by, so that a long sentence is not suspect."""
    return math.sqrt(max(features, _LEAST_SPREAD))


def evidence(text: str) -> float:
    """The most evidence in any sentence or two of a folded text; an attack is above 0."""
    known = weights()
    most = -math.inf
    for words, bits in windows(text):
        held = [w for w in map(known.get, (*words, *names(bits))) if w is not None]
        most = max(most, known[""] + sum(held) / spread(len(held)))
    return most
