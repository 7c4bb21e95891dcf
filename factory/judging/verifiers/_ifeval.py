"""The 25 constraints of IFEval (Zhou et al. 2023, arXiv 2311.07911), by their published names.

Each is a function of an answer and the constraint's arguments. Definitions follow the paper and its
reference checkers (github.com/google-research/google-research, instruction_following_eval).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from factory.judging.verifiers import _prose
from factory.judging.verifiers.language import language_of

Args = Mapping[str, Any]
Check = Callable[[str, Args], bool]


def _related(count: int, a: Args, key: str, *, relation: str = "relation") -> bool:
    """`at least` or `less than` a number; the reference checkers know no other relation."""
    least = int(a[key])
    return count >= least if a.get(relation) == "at least" else count < least


def _found(pattern: str, text: str) -> list[str]:
    return re.findall(pattern, text, re.IGNORECASE)


def _paragraphs(text: str, a: Args) -> bool:
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    inner = parts[1:-1]
    filled = [part for part in parts if part]
    return all(inner) and len(filled) == int(a["num_paragraphs"])


def _nth_paragraph(text: str, a: Args) -> bool:
    parts = re.split(r"\n\n", text)
    filled = sum(bool(part.strip()) for part in parts)
    n = int(a["nth_paragraph"])
    if n > filled or filled != int(a["num_paragraphs"]) or not parts[n - 1].strip():
        return False
    word = parts[n - 1].split()[0].lstrip("'").lstrip('"')
    return re.split(r"[.,?!'\"]", word)[0].lower() == str(a["first_word"]).lower()


def _postscript(text: str, a: Args) -> bool:
    marker = str(a["postscript_marker"])
    forms = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return bool(re.search(forms.get(marker, re.escape(marker.lower())), text.lower()))


def _bullets(text: str, a: Args) -> bool:
    stars = re.findall(r"^\s*\*[^*].*$", text, re.MULTILINE)
    dashes = re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return len(stars) + len(dashes) == int(a["num_bullets"])


def _highlights(text: str, a: Args) -> bool:
    single = re.findall(r"\*[^\n*]*\*", text)
    double = re.findall(r"\*\*[^\n*]*\*\*", text)
    marked = [s.strip("*").strip() for s in single]
    marked += [d.removeprefix("**").removesuffix("**").strip() for d in double]
    return sum(map(bool, marked)) >= int(a["num_highlights"])


def _sections(text: str, a: Args) -> bool:
    splitter = re.escape(str(a["section_spliter"]))
    return len(re.split(rf"\s?{splitter}\s?\d+\s?", text)) - 1 >= int(a["num_sections"])


def _is_json(text: str, a: Args) -> bool:
    text = re.sub(r"\A```(?:json)?", "", text.strip(), flags=re.IGNORECASE)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, a: Args) -> bool:
    return any(t.lstrip("<").rstrip(">").strip() for t in re.findall(r"<<[^\n]+>>", text))


def _two(text: str, a: Args) -> bool:
    parts = [part.strip() for part in text.split("******")]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


def _in_language(text: str, code: str) -> bool:
    """Where the language cannot be told, the constraint counts as followed, as in the reference."""
    found = language_of(text)
    return found is None or found == code


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
        len(re.findall(r"\[.*?\]", t)) >= int(a["num_placeholders"])
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
        sum(word.isupper() for word in _prose.tokens(t)), a, "capital_frequency",
        relation="capital_relation",
    ),
    "change_case:english_capital": lambda t, a: t.isupper() and _in_language(t, "en"),
    "change_case:english_lowercase": lambda t, a: t.islower() and _in_language(t, "en"),
    "punctuation:no_comma": lambda t, a: "," not in t,
    "startend:quotation": lambda t, a: (
        len(t.strip()) > 1 and t.strip()[0] == '"' and t.strip()[-1] == '"'
    ),
}  # fmt: skip
"""Name -> whether an answer follows it."""
