"""Parsers of replies that judge several texts at once: one verdict per text, in the order shown.

A list is read whole or not at all. A judge that leaves a text out, names one twice or numbers from
zero has not said which verdict belongs to which text, and a verdict that slides to its neighbour is
worse than none: published sets were shifted by one that way, by a template that numbered its texts
from 2 and by parsers that took the n-th paragraph for the n-th text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

from factory.judging import parse, wording
from factory.judging.outcomes import Reply, Verdict, failed, good
from factory.judging.parse import Ask

ListParser = Callable[[Reply, Ask, int], "list[Verdict]"]

_HEAD = re.compile(
    r"^[\s>*_#`\-\[(]{0,12}(?:answer|text|completion|response|output)[ _#]{1,3}(\d{1,3})"
    r"[\s*_#`:\])>.-]{0,12}$",
    re.IGNORECASE | re.MULTILINE,
)


class _Unread(Exception):
    """Why a list is none; a stable word."""


def _ratings(reply: Reply, ask: Ask, shown: int) -> list[Verdict]:
    """Under a line `Answer 2` of its own, that answer's `Rating: 4`; each answer once.

    Argument: `label` (default "Rating"). `N/A` is no rating, for that answer alone.
    """
    heads = list(_HEAD.finditer(reply.text))
    numbers = [int(h[1]) for h in heads]
    _complete(numbers, shown)
    # A rating above the first head: the heads may stand below what they name.
    if parse.read("rating", reply.text[: heads[0].start()], ask).reason != "no_verdict":
        raise _Unread("conflicting_verdicts")
    ends = [h.start() for h in heads[1:]] + [len(reply.text)]
    said = {
        number: parse.read("rating", reply.text[head.end() : end], ask)
        for number, head, end in zip(numbers, heads, ends, strict=True)
    }
    verdicts = [said[n] for n in range(1, shown + 1)]
    # A text that the judge would not rate is one thing, a block without a rating another: which of
    # the blocks its rating went to is then unknown.
    if any(v.status != "ok" and v.reason != "not_applicable" for v in verdicts):
        raise _Unread(next(v.reason for v in verdicts if v.status != "ok"))
    return verdicts


def _ranking(reply: Reply, ask: Ask, shown: int) -> list[Verdict]:
    """`[RANKING] 2 > 1 = 3`: best first, `=` for a tie, every answer once."""
    lines = re.findall(r"\[RANKING\][\s*_`:]{0,12}([^\n]{0,400})", reply.text, re.IGNORECASE)
    if not lines:
        raise _Unread("no_verdict")
    read = {_order_in(line) for line in lines}
    if len(read) > 1:
        raise _Unread("conflicting_verdicts")
    return _placed(read.pop(), ask, shown)


def _order_in(line: str) -> tuple[tuple[int, ...], ...]:
    """Groups of numbers, best first."""
    plain = re.sub(r"[*_`\[\]()]|(?:answer|text)\s?#?", "", line, flags=re.IGNORECASE).strip(" .")
    if not re.fullmatch(r"\d{1,3}(?:\s*[>=,]\s*\d{1,3})*", plain):
        raise _Unread("no_ranking")
    if "," in plain and re.search("[>=]", plain):  # is `2 > 1, 3` a tie of 1 and 3?
        raise _Unread("no_ranking")
    return tuple(
        tuple(int(n) for n in group.split("=")) for group in re.split(r"[>,]", plain) if group
    )


def _json_ranking(reply: Reply, ask: Ask, shown: int) -> list[Verdict]:
    """`{"ranking": [2, [1, 3]]}`: best first, a list within the list for a tie.

    Argument: `key` (default "ranking").
    """
    value = _list_of(reply, ask.text("key", "ranking"))
    groups = tuple(tuple(_whole(n) for n in (g if isinstance(g, list) else [g])) for g in value)
    return _placed(groups, ask, shown)


def _json_scores(reply: Reply, ask: Ask, shown: int) -> list[Verdict]:
    """`{"scores": [4, 2, 5]}`, in the order shown. Argument: `key` (default "scores")."""
    value = _list_of(reply, ask.text("key", "scores"))
    if len(value) != shown:
        raise _Unread("incomplete_list" if len(value) < shown else "unknown_text")
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
        raise _Unread("no_number")
    try:
        numbers = [float(cast("float", n)) for n in value]
    except OverflowError as huge:  # JSON's whole numbers have no end
        raise _Unread("off_scale") from huge
    verdicts = [ask.scale.verdict(number) for number in numbers]
    bad = next((v.reason for v in verdicts if v.status != "ok"), "")
    if bad:
        raise _Unread(bad)
    return verdicts


def _list_of(reply: Reply, key: str) -> list[object]:
    found = wording.values_of(reply.text, key)
    if len(found) != 1:
        raise _Unread("conflicting_verdicts" if found else "no_verdict")
    if not isinstance(found[0], list):
        raise _Unread("no_ranking")
    return cast("list[object]", found[0])


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Unread("no_ranking")
    return value


def _complete(numbers: Sequence[int], shown: int) -> None:
    """Every number from 1 to `shown`, each once."""
    if len(set(numbers)) < len(numbers):
        raise _Unread("named_twice")
    if set(numbers) - set(range(1, shown + 1)):
        raise _Unread("unknown_text")
    if len(numbers) < shown:
        raise _Unread("incomplete_list" if numbers else "no_verdict")


def _placed(groups: Sequence[Sequence[int]], ask: Ask, shown: int) -> list[Verdict]:
    _complete([n for group in groups for n in group], shown)
    shares = places(groups)
    low, high = ask.scale.min, ask.scale.max
    return [good(low + (high - low) * shares[n]) for n in range(1, shown + 1)]


def places(groups: Sequence[Sequence[int]]) -> dict[int, float]:
    """What share of the others each one beats, a tie for half: Borda's points over k - 1."""
    total = sum(map(len, groups))
    shares: dict[int, float] = {}
    below = total
    for group in groups:
        below -= len(group)
        for one in group:
            shares[one] = (below + (len(group) - 1) / 2) / max(1, total - 1)
    return shares


LISTS: dict[str, tuple[str, ListParser]] = {
    "ratings": ("3", _ratings),
    "ranking": ("2", _ranking),
    "json_ranking": ("2", _json_ranking),
    "json_scores": ("2", _json_scores),
}
"""Parser and version by name. `ratings` reads each number as the parser `rating` does."""
REVISION = "3"
"""Version of the parser of revisions, which reads its number as `rating` does, too."""


def parser_name(name: str) -> str:
    """Name and version of a parser, as rows keep it: `ranking/1`."""
    return f"{name}/{REVISION if name == 'revision' else LISTS[name][0]}"


def parse_list(reply: Reply, *, parser: str, ask: Ask, shown: int) -> list[Verdict]:
    """One typed verdict per text shown, in that order. Never raises on model output."""
    unusable = parse.unusable(reply)
    if unusable is not None:
        return [unusable] * shown
    reply = parse.aloud(reply)
    try:
        verdicts = LISTS[parser][1](reply, ask, shown)
    except _Unread as why:
        status = "refused" if parse.refuses(reply.text) else "unparsed"
        reason = "refused_in_words" if status == "refused" else str(why)
        return [failed(status, reason)] * shown
    assert len(verdicts) == shown
    return verdicts


# --- a judge that rewrites ------------------------------------------------------------------------

_BLOCK = re.compile(r"^[ \t]*<<<\s*(CRITIQUE|REVISION|END)\b[^>\n]{0,40}>>>[ \t]*$", re.MULTILINE)


def revision_of(text: str) -> tuple[str, str] | None:
    """The critique and the revised answer of a critique-and-revise reply, or None.

    The reply holds `<<<CRITIQUE>>>`, `<<<REVISION>>>` and `<<<END>>>`, each once, in that order and
    alone on its line; the revision is what stands between the last two, to the letter but for the
    line breaks at its ends.
    """
    text = wording.spoken(text)
    marks = list(_BLOCK.finditer(text))
    if [m[1] for m in marks] != ["CRITIQUE", "REVISION", "END"]:
        return None
    critique, revision = (text[a.end() : b.start()].strip("\n") for a, b in pairwise(marks))
    return (critique.strip(), revision) if revision.strip() else None


def parse_revision(reply: Reply, *, ask: Ask) -> Verdict:
    """The rating that the judge gave the answer it was shown; unparsed without a whole revision."""
    unusable = parse.unusable(reply)
    if unusable is not None:
        return unusable
    parts = revision_of(reply.text)
    if parts is None:
        status = "refused" if parse.refuses(reply.text) else "unparsed"
        return failed(status, "refused_in_words" if status == "refused" else "no_revision")
    verdict = parse.read("rating", parts[0], ask)
    if verdict.status != "ok" or verdict.score is None:
        return verdict
    return good(verdict.score, rationale=parts[0])
