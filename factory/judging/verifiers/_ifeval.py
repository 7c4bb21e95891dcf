"""The 25 constraints of IFEval (Zhou et al. 2023, arXiv 2311.07911), by their published names.

Each is a function of an answer and the constraint's arguments. Names, arguments and what is counted
are those of the paper and its reference checkers (github.com/google-research/google-research,
instruction_following_eval, Apache-2.0). The functions are our own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from factory.judging.verifiers import _prose
from factory.judging.verifiers.language import code_of, language_of, same_language

Args = Mapping[str, Any]
Check = Callable[[str, Args], bool]


def _related(count: int, a: Args, key: str, *, relation: str = "relation") -> bool:
    """`at least` or `less than` a number; the reference checkers know no other relation.

    Raises:
        ValueError: for another one, which must not be read as either.
    """
    number, said = int(a[key]), a[relation]
    if said not in ("at least", "less than"):
        raise ValueError(f"{said} is no relation")
    return count >= number if said == "at least" else count < number


def _found(pattern: str, text: str) -> list[str]:
    return re.findall(pattern, text, re.IGNORECASE)


def _parted(text: str, divider: str) -> list[str]:
    """What stands between dividers; none where two follow each other with nothing between."""
    first, *others = (part.strip() for part in text.split(divider))
    return [p for p in (first, *others) if p] if all(others[:-1]) else []


def _paragraphs(text: str, a: Args) -> bool:
    return len(_parted(text, "***")) == int(a["num_paragraphs"])


_OPENING = re.compile(r"""\s*(?=\S)'*"*([^\s.,?!'"]*)""")
"""The first word of a paragraph, up to its first mark; quotes before it do not count."""


def _nth_paragraph(text: str, a: Args) -> bool:
    parts, n = text.split("\n\n"), int(a["nth_paragraph"])
    filled = sum(map(bool, map(str.strip, parts)))
    opening = _OPENING.match(parts[n - 1]) if n <= filled == int(a["num_paragraphs"]) else None
    return opening is not None and opening[1].lower() == str(a["first_word"]).lower()


_POSTSCRIPTS = {"P.P.S": r"\.\s?".join("pps"), "P.S.": r"\.\s?".join("ps") + r"\."}


def _postscript(text: str, a: Args) -> bool:
    marker = str(a["postscript_marker"])
    form = _POSTSCRIPTS.get(marker, re.escape(marker.lower()))
    return re.search(form, text.lower()) is not None


def _bullets(text: str, a: Args) -> bool:
    # Each kind by itself: a star may reach over a line break to the line after it.
    kinds = (re.findall(rf"^\s*{mark}.*", text, re.MULTILINE) for mark in (r"\*[^*]", "-"))
    return sum(map(len, kinds)) == int(a["num_bullets"])


def _highlights(text: str, a: Args) -> bool:
    # What stands within two stars counts twice where a lone pair of stars can be read beside it.
    marked = (re.findall(rf"{edge}([^\n*]*){edge}", text) for edge in (r"\*", r"\*\*"))
    return sum(bool(m.strip()) for found in marked for m in found) >= int(a["num_highlights"])


def _sections(text: str, a: Args) -> bool:
    heading = re.escape(str(a["section_spliter"])) + r"\s?\d+"
    return len(re.findall(heading, text)) >= int(a["num_sections"])


def _is_json(text: str, a: Args) -> bool:
    text = re.sub(r"\A```(?:json)?", "", text.strip(), flags=re.IGNORECASE)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, a: Args) -> bool:
    return any(not re.fullmatch(r"<+\s*>+", t) for t in re.findall(r"<<.+>>", text))


def _two(text: str, a: Args) -> bool:
    said = _parted(text, "******")
    return len(said) == 2 == len(set(said))


def _in_language(text: str, code: str) -> bool:
    """Where the language cannot be told, the constraint counts as followed, as in the reference."""
    wanted, found = code_of(code), language_of(text)
    return found is None or same_language(found, wanted)


def _each(text: str, found: Sequence[object], test: Callable[[str], bool]) -> bool:
    return all(test(str(word)) for word in found)


CHECKS: dict[str, Check] = {
    "keywords:existence": lambda t, a: _each(t, a["keywords"], lambda k: bool(_found(k, t))),
    "keywords:frequency": lambda t, a: _related(
        len(_found(str(a["keyword"]).strip(), t)), a, "frequency"
    ),
    "keywords:forbidden_words": lambda t, a: _each(
        t, a["forbidden_words"], lambda w: not _found(rf"\b{w}\b", t)
    ),
    "keywords:letter_frequency": lambda t, a: _related(
        t.lower().count(str(a["letter"]).lower()), a, "let_frequency", relation="let_relation"
    ),
    "language:response_language": lambda t, a: _in_language(t, str(a["language"])),
    "length_constraints:number_sentences": lambda t, a: _related(
        len(_prose.sentences(t)), a, "num_sentences"
    ),
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": lambda t, a: _related(
        len(_prose.words(t)), a, "num_words"
    ),
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": lambda t, a: (
        len(re.findall(r"\[[^]\n]*\]", t)) >= int(a["num_placeholders"])
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda t, a: any(
        f"My answer is {said}." in t for said in ("yes", "no", "maybe")
    ),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": _title,
    "combination:two_responses": _two,
    "combination:repeat_prompt": lambda t, a: (
        t.strip().lower().startswith(str(a["prompt_to_repeat"]).strip().lower())
    ),
    "startend:end_checker": lambda t, a: (
        t.strip().strip('"').lower().endswith(str(a["end_phrase"]).strip().lower())
    ),
    "change_case:capital_word_frequency": lambda t, a: _related(
        sum(map(str.isupper, _prose.treebank(t))), a, "capital_frequency",
        relation="capital_relation",
    ),
    "change_case:english_capital": lambda t, a: t.isupper() and _in_language(t, "en"),
    "change_case:english_lowercase": lambda t, a: t.islower() and _in_language(t, "en"),
    "punctuation:no_comma": lambda t, a: "," not in t,
    "startend:quotation": lambda t, a: re.fullmatch(r'".*"', t.strip(), re.DOTALL) is not None,
}  # fmt: skip
"""Name -> whether an answer follows it."""
