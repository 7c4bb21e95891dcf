"""Benchmarks in memory, and what of them a prompt holds.

A prompt is contaminated by an item when, after case, spaces and punctuation,

* `exact`: it (or one of its turns) is the item;
* `embedded`: the item is in it, whole;
* `truncated`: it is a piece of the item;
* `overlap`: n-grams that both have cover more than half of the item's words.

The last is the rule of Tulu 3 (arXiv 2411.15124, section 3.2: 8-grams, half of the tokens). What
many items of a benchmark share is its template, and counts for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from factory.prompting.cleaning.grams import Grams, Ints, mixed, windows
from factory.prompting.cleaning.words import cleaned, key_of, places_of, words_of

NGRAM = 8
OVERLAP = 0.5
FEWEST = 4
"""Shorter items ("Go on", "Tell me more") are found when they are the whole prompt alone."""
PIECE_SHARE = 0.9
PIECE_WORDS = 16
"""A prompt is a piece of an item when so much of it, and so many words, are the item's."""
TEMPLATE_ITEMS = 10
TEMPLATE_SHARE = 0.02
"""An n-gram of more items than both say is the benchmark's template."""
_SPAN = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What of one item is in a prompt."""

    benchmark: str
    item: str
    kind: str
    """exact, embedded, truncated or overlap."""
    score: float
    """Share of the item's words, without its benchmark's template, that the prompt has."""
    prompt_share: float
    """Share of the prompt's words that are the item's."""
    words: int
    """Length of the longest piece that both have."""
    span: str
    """That piece, as the prompt has it."""
    turn: int | None
    """Which of the turns that were given has it, from 0; None for all of them together."""

    @property
    def rank(self) -> tuple[bool, float, float, int]:
        """The best of several matches has the highest."""
        return (self.kind == "exact", self.score, self.prompt_share, self.words)


@dataclass(frozen=True, slots=True)
class _Part:
    """A turn of an item: its place among the indexed words."""

    benchmark: str
    item: str
    begin: int
    length: int


class Index:
    """Every item of the benchmarks; `seal` it after the last `add`."""

    def __init__(self, *, ngram: int = NGRAM, overlap: float = OVERLAP) -> None:
        self.ngram = ngram
        self.overlap = overlap
        self.sizes: Counter[str] = Counter()
        """Items of each benchmark."""
        self._vocabulary: dict[str, int] = {}
        self._words: list[int] = [0]
        self._parts: list[_Part] = []
        self._whole: dict[str, int] = {}
        self._openings: dict[str, int] = {}

    def add(self, benchmark: str, item: str, turns: Sequence[str]) -> None:
        """Take an item; a follow-up turn counts where it is long enough to mean this item alone."""
        self.sizes[benchmark] += 1
        for number, turn in enumerate(turns):
            words = words_of(turn)
            if not words or (number and len(words) < self.ngram):
                continue
            part = len(self._parts)
            self._parts.append(_Part(benchmark, item, len(self._words), len(words)))
            known = self._vocabulary
            self._words += [known.setdefault(word, len(known) + 1) for word in words]
            self._words.append(0)
            self._whole.setdefault(key_of(words), part)
            # A prompt too short for an n-gram is a piece of an item when the item begins so.
            for length in range(FEWEST, min(self.ngram, len(words))):
                if length > self.overlap * len(words):
                    self._openings.setdefault(key_of(words[:length]), part)

    def seal(self) -> Index:
        """Build what `find` looks up."""
        self._all = np.array(self._words, np.int64)
        self._begins = np.array([part.begin for part in self._parts], np.int64)
        self._content = np.zeros(len(self._all), bool)
        self._tables = [self._long(), *self._short()]
        return self

    def _long(self) -> Grams:
        hashes, begins = windows(self._all, self.ngram)
        parts = np.searchsorted(self._begins, begins, "right") - 1
        # One posting an n-gram and part: a text that repeats itself costs no more than another.
        _, first = np.unique(hashes ^ mixed(parts), return_index=True)
        hashes, begins, parts = hashes[first], begins[first], parts[first]
        kept = ~self._template(hashes, parts)
        for at in range(self.ngram):
            self._content[begins[kept] + at] = True
        return Grams.of(self._all, self.ngram, begins=begins[kept], hashes=hashes[kept])

    def _template(self, hashes: np.ndarray, parts: Ints) -> np.ndarray:
        """Which n-grams so many items of one benchmark share that they are nobody's."""
        names = list(self.sizes)
        number = {name: at for at, name in enumerate(names)}
        of_part = np.array([number[part.benchmark] for part in self._parts], np.int64)
        most = np.array([max(TEMPLATE_ITEMS, TEMPLATE_SHARE * self.sizes[n]) for n in names])
        benchmark = of_part[parts]
        each = hashes ^ mixed(benchmark)
        _, group, times = np.unique(each, return_inverse=True, return_counts=True)
        return times[group] > most[benchmark]

    def _short(self) -> Iterator[Grams]:
        """Items too short for an n-gram, whole."""
        for length in range(FEWEST, self.ngram):
            begins = np.array([p.begin for p in self._parts if p.length == length], np.int64)
            if len(begins):
                hashes, every = windows(self._all, length)
                at = np.searchsorted(every, begins)
                yield Grams.of(self._all, length, begins=begins, hashes=hashes[at])
                for offset in range(length):
                    self._content[begins + offset] = True

    def find(
        self, prompts: Sequence[Sequence[str]], *, follow_ups: bool = False
    ) -> list[list[Match]]:
        """What each prompt, given as its turns, has of the items; the best match first.

        Args:
            prompts: the turns of each.
            follow_ups: they are turns of conversations, so that a few words that are an item ("Go
                on") are no sign of it.
        """
        asked = [_Asked.of(turns, follow_up=follow_ups) for turns in prompts]
        found: list[dict[tuple[str, str], Match]] = [{} for _ in asked]
        for prompt, matches in zip(asked, found, strict=True):
            for match in self._exact(prompt):
                _keep(matches, match)
        owners = np.repeat(np.arange(len(asked)), [len(prompt.words) for prompt in asked])
        known = self._vocabulary
        words = np.array([known.get(w, 0) for p in asked for w in p.words], np.int64)
        starts = np.cumsum([0, *(len(prompt.words) for prompt in asked)])
        for table in self._tables:
            here, there = table.find(words)
            parts = np.searchsorted(self._begins, there, "right") - 1
            order = np.lexsort((there, here, parts, owners[here]))
            here, there, parts = here[order], there[order], parts[order]
            whose = owners[here]
            cuts = np.flatnonzero(np.diff(whose) | np.diff(parts)) + 1
            for at in np.split(np.arange(len(here)), cuts) if len(here) else ():
                owner, part = int(whose[at[0]]), int(parts[at[0]])
                mine = here[at] - starts[owner]
                match = self._judged(asked[owner], part, mine, there[at], n=table.n)
                if match is not None:
                    _keep(found[owner], match)
        return [ranked(matches.values()) for matches in found]

    def _exact(self, prompt: _Asked) -> Iterator[Match]:
        for key, text, length, turn in prompt.wholes():
            alone = not prompt.follow_up and (turn is None or len(prompt.each) == 1)
            part = self._whole.get(key) if alone or length >= FEWEST else None
            if part is not None:
                share = length / prompt.length
                yield self._match(part, "exact", 1.0, share, length, text, turn)
                continue
            part = self._openings.get(key) if alone and length < self.ngram else None
            if part is not None:
                score = length / self._parts[part].length
                yield self._match(part, "truncated", score, 1.0, length, text, turn)

    def _judged(
        self, prompt: _Asked, part: int, here: Ints, there: Ints, *, n: int
    ) -> Match | None:
        """Whether n-grams that begin `here` in the prompt and `there` in the index are too many."""
        of = self._parts[part]
        steps = np.arange(n)
        covered = np.unique((there[:, None] + steps).ravel())
        content = int(self._content[of.begin : of.begin + of.length].sum())
        score = len(covered) / content
        share = len(np.unique((here[:, None] + steps).ravel())) / prompt.length
        begin, length = _longest(here, there, n)
        whole = n < self.ngram
        piece = share >= PIECE_SHARE and length >= PIECE_WORDS
        if not (score > self.overlap or piece) or (whole and not prompt.stands_alone(begin, n)):
            return None
        kind = "embedded" if score == 1 else "truncated" if share >= PIECE_SHARE else "overlap"
        span, turn = prompt.span(begin, length), prompt.turn(begin)
        return self._match(part, kind, score, share, length, span, turn)

    def _match(
        self, part: int, kind: str, score: float, share: float, words: int, span: str,
        turn: int | None,
    ) -> Match:  # fmt: skip
        of = self._parts[part]
        return Match(
            benchmark=of.benchmark, item=of.item, kind=kind, score=round(score, 3),
            prompt_share=round(share, 3), words=words, span=span[:_SPAN], turn=turn,
        )  # fmt: skip


def ranked(matches: Iterable[Match]) -> list[Match]:
    """The best match of each item, the best of all first."""
    best: dict[tuple[str, str], Match] = {}
    for match in matches:
        _keep(best, match)
    return sorted(best.values(), key=lambda match: match.rank, reverse=True)


def _keep(matches: dict[tuple[str, str], Match], match: Match) -> None:
    there = matches.get((match.benchmark, match.item))
    if there is None or match.rank > there.rank:
        matches[match.benchmark, match.item] = match


def _longest(here: Ints, there: Ints, n: int) -> tuple[int, int]:
    """Begin and length, in words, of the longest run in both texts; rows are sorted by `here`."""
    apart = (np.diff(here) != 1) | (np.diff(there) != 1)
    cuts = np.flatnonzero(apart) + 1
    begins = np.concatenate([[0], cuts])
    lengths = np.diff(np.concatenate([begins, [len(here)]]))
    best = int(np.argmax(lengths))
    return int(here[begins[best]]), int(lengths[best]) + n - 1


@dataclass(frozen=True, slots=True)
class _Asked:
    """A prompt's turns and words; an empty word, which no benchmark has, ends each turn."""

    turns: Sequence[str]
    each: list[list[str]]
    """Words of each turn."""
    words: list[str]
    length: int
    follow_up: bool

    @classmethod
    def of(cls, turns: Sequence[str], *, follow_up: bool) -> _Asked:
        each = [words_of(turn) for turn in turns]
        words = [word for one in each for word in (*one, "")]
        return cls(turns, each, words, max(1, sum(map(len, each))), follow_up)

    def wholes(self) -> Iterator[tuple[str, str, int, int | None]]:
        """Key, text, words and number of each turn; and of all together, which have no number."""
        if len(self.each) > 1:
            joined = [word for words in self.each for word in words]
            yield key_of(joined), "\n".join(map(cleaned, self.turns)), len(joined), None
        for number, (turn, words) in enumerate(zip(self.turns, self.each, strict=True)):
            if words:
                yield key_of(words), cleaned(turn), len(words), number

    def turn(self, begin: int) -> int:
        """Number of the turn that a word is in."""
        return self.words[:begin].count("")

    def _place(self, begin: int, length: int) -> tuple[str, int, int]:
        turn = self.turn(begin)
        before = sum(len(words) + 1 for words in self.each[:turn])
        places = places_of(self.turns[turn])
        first, last = begin - before, begin - before + length - 1
        return cleaned(self.turns[turn]), places[first][0], places[last][1]

    def span(self, begin: int, length: int) -> str:
        """The text of some words."""
        text, start, end = self._place(begin, length)
        return text[start:end]

    def stands_alone(self, begin: int, length: int) -> bool:
        """Whether words are sentences of their own: no word or comma next to them on the line."""
        text, start, end = self._place(begin, length)
        before, after = text[:start].rstrip(" \t")[-1:], text[end:].lstrip(" \t")[:1]
        return not any(c.isalnum() or c == "," for c in (before, after) if c)
