"""Parsers: what a judge wrote -> a typed verdict. Pure, by name, each with a version.

A parser never guesses. Text without a verdict, with two different verdicts, with a number off the
scale or cut by the token limit becomes a status with a reason, because a wrong label is worse than
a missing one: the published sets that counted a failed parse as 1, or a 1 as 10, had to be repaired
(https://github.com/OpenBMB/UltraFeedback/issues/8).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from factory.judging import wording
from factory.judging.outcomes import Reply, Verdict, failed, good, preference


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The judge's scale, both ends included."""

    min: float
    max: float
    integer: bool = False

    def verdict(self, number: float) -> Verdict:
        """The number as a verdict, or a reason why it is none."""
        if not math.isfinite(number) or not self.min <= number <= self.max:
            return failed("unparsed", "off_scale")
        if self.integer and not number.is_integer():
            return failed("unparsed", "not_an_integer")
        return good(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a parser may know besides the reply."""

    scale: Scale
    pairwise: bool = False
    args: Mapping[str, object]

    def text(self, name: str, default: str) -> str:
        """A text argument of the judge's file."""
        return str(self.args.get(name, default))


Parser = Callable[[Reply, Ask], Verdict]


def _one(verdicts: Sequence[Verdict], *, missing: str = "no_verdict") -> Verdict:
    """The verdict that all agree on. Arena-Hard's rule: two different ones are none."""
    distinct = set(verdicts)
    if not distinct:
        return failed("unparsed", missing)
    return verdicts[0] if len(distinct) == 1 else failed("unparsed", "conflicting_verdicts")


def _rating(reply: Reply, ask: Ask) -> Verdict:
    """`Rating: 4`, in any Markdown dress, `4/5` and `4 out of 5` too; `N/A` is no rating.

    Arguments: `label` (default "Rating"). The label stands at the start of a line, so that the word
    inside a rationale is not read; a whole number is read, so that 10 is never 1.
    """
    label = re.escape(ask.text("label", "Rating"))
    # Bounded repeats: the text is hostile and a backtracking regex would be a way to stop a run.
    line = re.compile(
        rf"^[\s>*_#`\-\d.)]{{0,12}}{label}[\s*_`]{{0,6}}[:=\uff1a][\s*_`\[(]{{0,6}}([^\n]{{0,80}})",
        re.IGNORECASE | re.MULTILINE,
    )
    return _one([_number_of(found, ask.scale) for found in line.findall(reply.text)])


def _number_of(text: str, scale: Scale) -> Verdict:
    number = wording.number_in(text, top=scale.max)
    return failed("unparsed", number) if isinstance(number, str) else scale.verdict(number)


def _unless_denied(verdict: Verdict, denied: bool) -> Verdict:
    """`not [[A]]` names no winner: the other one may have been meant, or nobody."""
    return failed("unparsed", "taken_back") if denied else verdict


def _bracket(reply: Reply, ask: Ask) -> Verdict:
    """`[[n]]`, as in MT-bench's single grading (arXiv 2306.05685)."""
    found = wording.marked(reply.text, rf"\[\[\s*({wording.NUMBER})\s*\]\]")
    return _one([_unless_denied(ask.scale.verdict(float(n)), denied) for n, denied in found])


def _pair(reply: Reply, ask: Ask) -> Verdict:
    """`[[A]]`, `[[B]]` or `[[C]]` for a tie, as in MT-bench's pairs (arXiv 2306.05685)."""
    worth = {"A": 1.0, "B": 0.0, "C": 0.5}
    found = wording.marked(reply.text, r"\[\[\s*([ABC])\s*\]\]")
    return _one([_unless_denied(preference(worth[x]), denied) for x, denied in found])


_FIVE = {
    "A>>B": 2.0, "A>B": 1.0, "A=B": 0.0, "B>A": -1.0, "B>>A": -2.0,
    "B<<A": 2.0, "B<A": 1.0, "B=A": 0.0, "A<B": -1.0, "A<<B": -2.0,
}  # fmt: skip


def _five_way(reply: Reply, ask: Ask) -> Verdict:
    """`[[A>>B]]` ... `[[B>>A]]`, as in Arena-Hard; `score` is +2 to -2 for the first shown."""
    found = wording.marked(reply.text, r"\[\[\s*([AB]\s*(?:>>|>|=|<<|<)\s*[AB])\s*\]\]")
    strengths = [(_FIVE.get(re.sub(r"\s", "", said)), denied) for said, denied in found]
    return _one([_unless_denied(_graded(s), denied) for s, denied in strengths if s is not None])


def _graded(strength: float) -> Verdict:
    p_first = 0.5 if strength == 0 else 1.0 if strength > 0 else 0.0
    return preference(p_first, strength=strength)


def _result(reply: Reply, ask: Ask) -> Verdict:
    """`[RESULT] 4` or `[RESULT] A`, as in Prometheus 2 (arXiv 2405.01535).

    The rest of the line is read too: `[RESULT] A or B? Neither` names no winner.
    """
    parts = re.split(r"\[RESULT\]", reply.text, flags=re.IGNORECASE)[1:]
    lines = [re.sub(r"\A[\s*_`:(\[]{0,6}", "", part).split("\n", 1)[0] for part in parts]
    read = _letter if ask.pairwise else partial(_number_of, scale=ask.scale)
    return _one([read(line) for line in lines if line.strip()])


def _letter(line: str) -> Verdict:
    """`A` or `B` and nothing else in words, nor a sign that takes it back (`!A`, `A?`, `A <`)."""
    words = {word.upper() for word in re.findall(r"\w+", line.replace("_", " "))}
    if words in ({"A"}, {"B"}) and not re.search(r"[^\w\s*_.,:;()\[\]\"'`#-]", line):
        return preference(1.0 if words == {"A"} else 0.0)
    return failed("unparsed", "conflicting_verdicts" if {"A", "B"} <= words else "no_verdict")


def _json(reply: Reply, ask: Ask) -> Verdict:
    """The only JSON object of the reply that has the key.

    Arguments: `key` ("score", for pairs "winner"), `first`, `second`, `tie` (the words for a pair).
    """
    key = ask.text("key", "winner" if ask.pairwise else "score")
    values = wording.values_of(reply.text, key)
    return _one([_json_value(value, ask) for value in values], missing="no_json_verdict")


def _json_value(value: object, ask: Ask) -> Verdict:
    if isinstance(value, wording.Twice):
        return failed("unparsed", "conflicting_verdicts")
    if ask.pairwise:
        words = {ask.text("first", "A"): 1.0, ask.text("second", "B"): 0.0}
        words[ask.text("tie", "tie")] = 0.5
        if not isinstance(value, str) or value not in words:
            return failed("unparsed", "unknown_winner")
        return preference(words[value])
    # bool is an int in Python, and true is no score.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return failed("unparsed", "not_a_number")
    try:
        return ask.scale.verdict(float(value))
    except OverflowError:
        return failed("unparsed", "off_scale")


_ROUNDED = 0.01
"""A server's log-probability of what is certain may be a little above 0, and no more."""


def _chances(reply: Reply) -> dict[str, float]:
    """Word -> probability at the first position; a token that is not among the top has none.

    ` A`, `A` and the `\u2581A` or `\u0120A` of raw vocabularies are one word: their chances add up.

    Raises:
        _NoLogprobs: saying why, where there are none or one is no log-probability (NaN, above 0).
    """
    if not reply.top_logprobs:
        raise _NoLogprobs("no_logprobs")
    found: dict[str, float] = {}
    for token, value in reply.top_logprobs[0]:
        logprob = float(str(value))
        # NaN compares as false: it is refused here too, where it would be a win for the second.
        if not logprob <= _ROUNDED:
            raise _NoLogprobs("bad_logprobs")
        word = _word(str(token))
        found[word] = found.get(word, 0.0) + math.exp(logprob)
    return found


def _word(token: str) -> str:
    return token.strip().lstrip("\u2581\u0120")


class _NoLogprobs(Exception):
    """Why a first token tells nothing; a stable word."""


def _logprob_pair(reply: Reply, ask: Ask) -> Verdict:
    """P(first) = p(first) / (p(first) + p(second)) of the first token.

    AlpacaEval 2's verdict (https://github.com/tatsu-lab/alpaca_eval). Arguments: `first` ("m"),
    `second` ("M"): the words that name the first and the second shown text; `min_mass` (0.5), the
    least probability that both must hold together. Below it the judge was saying something else,
    and of what is left over a thousandth would decide.
    """
    try:
        chances = _chances(reply)
    except _NoLogprobs as why:
        return failed("unparsed", str(why))
    first = chances.get(_word(ask.text("first", "m")), 0.0)
    second = chances.get(_word(ask.text("second", "M")), 0.0)
    if first + second == 0 or first + second < float(ask.text("min_mass", "0.5")):
        return failed("unparsed", "no_verdict_token")
    return preference(first / (first + second))


def _logprob_rating(reply: Reply, ask: Ask) -> Verdict:
    """The mean of the scale's whole numbers under the first token's probabilities (G-Eval).

    Method of arXiv 2303.16634. Argument: `min_mass` (0.5), the least probability that the numbers
    must hold together; below it the judge was saying something else.
    """
    try:
        chances = _chances(reply)
    except _NoLogprobs as why:
        return failed("unparsed", str(why))
    numbers = range(math.ceil(ask.scale.min), math.floor(ask.scale.max) + 1)
    mass = {n: chances.get(str(n), 0.0) for n in numbers}
    total = sum(mass.values())
    if total == 0 or total < float(ask.text("min_mass", "0.5")):
        return failed("unparsed", "no_verdict_token")
    return good(sum(n * p for n, p in mass.items()) / total)


PARSERS: dict[str, tuple[str, Parser]] = {
    "rating": ("3", _rating),
    "bracket": ("2", _bracket),
    "pair": ("2", _pair),
    "five_way": ("2", _five_way),
    "result": ("4", _result),
    "json": ("2", _json),
    "logprob_pair": ("2", _logprob_pair),
    "logprob_rating": ("2", _logprob_rating),
}
"""Parser and version by name. A change of meaning is a new version, and so a new judge id."""

PAIRWISE = frozenset({"pair", "five_way", "result", "json", "logprob_pair"})
POINTWISE = frozenset({"rating", "bracket", "result", "json", "logprob_rating"})
LISTWISE = frozenset({"ratings", "ranking", "json_ranking", "json_scores"})
REVISE = frozenset({"revision"})
"""Parsers that fit each kind; those of lists and revisions are in `rankings`."""

_REFUSAL = re.compile(
    r"\b(?:i\s?['\u2019]?m sorry\b|i apologi[sz]e\b|i (?:can['\u2019]?t|cannot|can not|"
    r"won['\u2019]?t|(?:a|')m (?:unable|not able) to)\b.{0,40}\b"
    r"(?:assist|help|comply|evaluate|rate|judge|provide|fulfil|continue|do that|with that))",
    re.IGNORECASE | re.DOTALL,
)


_RATIONALE = re.compile(
    r"^[\s>*_#`]{0,12}Rationale[\s*_`]{0,6}:[\s*_]{0,6}(\S.*)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


def parser_name(name: str) -> str:
    """Name and version of a parser, as rows keep it: `rating/1`."""
    return f"{name}/{PARSERS[name][0]}"


def parse(reply: Reply, *, parser: str, ask: Ask) -> Verdict:
    """The typed verdict of a reply. Never raises on model output.

    Args:
        reply: what came back.
        parser: a name in `PARSERS`.
        ask: scale, kind and arguments from the judge's file.
    """
    missing = unusable(reply, by_token=parser.startswith("logprob_"))
    if missing is not None:
        return missing
    if not parser.startswith("logprob_"):
        reply = aloud(reply)
    verdict = PARSERS[parser][1](reply, ask)
    if verdict.status == "ok":
        said = _RATIONALE.search(reply.text)
        return replace(verdict, rationale=said[1].strip()) if said else verdict
    return failed("refused", "refused_in_words") if refuses(reply.text) else verdict


def unusable(reply: Reply, *, by_token: bool = False) -> Verdict | None:
    """The verdict on a reply that holds none: an error, a refusal, a cut or an empty text."""
    if reply.error:
        return failed("error", reply.error)
    if reply.refusal is not None or reply.finish_reason == "content_filter":
        return failed("refused", "refused_by_endpoint")
    # A verdict read from one token is whole by construction; a text that was cut is not.
    if reply.finish_reason == "length" and not by_token:
        return failed("truncated", "token_limit")
    if not by_token and not reply.text.strip():
        return failed("unparsed", "empty_reply")
    return None


def aloud(reply: Reply) -> Reply:
    """The reply without the thoughts that it begins with: what stands in them is a draft."""
    text = wording.spoken(reply.text)
    return reply if text == reply.text else replace(reply, text=text)


def refuses(text: str) -> bool:
    """Whether a reply without a verdict says that it will give none."""
    return _REFUSAL.search(text[:300]) is not None


def read(parser: str, text: str, ask: Ask) -> Verdict:
    """What a parser reads in a part of a reply."""
    return PARSERS[parser][1](Reply(text=text), ask)
