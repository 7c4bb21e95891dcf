"""Constraints of IFBench that are whole tasks, or that fix words and places; see `_ifbench`."""

from __future__ import annotations

import csv
import io
import re
import string
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from factory.judging.verifiers import _prose
from factory.judging.verifiers._lists import CAPITALS
from factory.judging.verifiers._prose import bare, sentences, trimmed

Args = Mapping[str, Any]
Check = Callable[[str, Args], bool]


def _multiples(text: str, a: Args) -> bool:
    return re.findall(r"\d+", text) == [str(n) for n in range(14, 51, 7)]


def _questions(text: str, a: Args) -> bool:
    if not text.startswith("Question"):
        return False
    parts = [p for p in re.split(r"\n*Question \d+[.|):;]?\s*", text) if p.strip()]
    lengths: list[int] = []
    for part in parts:
        lines = [line.strip() for line in part.strip().split("\n")]
        marked = [bool(re.match(r"[A-Ea-e][.|)]\s*\w+", line)) for line in lines]
        if sum(marked) != 5:
            return False
        lengths.append(len(" ".join(lines[: marked.index(True)])))
    return len(parts) == 4 and all(x < y for x, y in pairwise(lengths))


def _countries(text: str, a: Args) -> bool:
    lines = [said for line in text.split("\n") if (said := trimmed(line))]
    start = next((i for i, line in enumerate(lines) if "Zimbabwe" in line), None)
    if start is None or len(lines) - start < 52:
        return False
    named = [_prose.plain(line) for line in lines[start:]]
    return named == sorted(named, reverse=True)


def _words_reversed(text: str, a: Args) -> bool:
    turned = " ".join(reversed(bare(text.lower().strip()).split()))
    return "bald eagle" in turned and turned in sentences(turned)


def _sentence_alphabet(text: str, a: Args) -> bool:
    firsts = [s.split()[0][0].lower() for s in sentences(text)]
    return firsts == list(string.ascii_lowercase)


def _capitals(text: str, a: Args) -> bool:
    said = [c.strip() for c in _prose.plain(text).split(",") if c.strip()]
    return said == list(CAPITALS)


def _table(text: str, *, rows: int, delimiter: str = ",") -> list[list[str]] | None:
    """The rows of a CSV text with a header, five cells each; None for any other shape."""
    try:
        found = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return None
    fits = len(found) == rows + 1 and all(len(row) == 5 for row in found[1:])
    return found if fits else None


def _city_csv(text: str, a: Args) -> bool:
    found = _table(text, rows=7)
    return found is not None and found[0] == ["ID", "Country", "City", "Year", "Count"]


def _headed(text: str, names: Sequence[str], separator: str) -> bool:
    cells = separator.join(f'(?:{n}|"{n}")' for n in names)
    return re.fullmatch(cells, text.split("\n")[0].strip()) is not None


def _kept_quotes(text: str) -> str:
    # Tripled, so that the reader hands a cell over with its quotes on.
    return text.replace('"', '"""')


def _special_csv(text: str, a: Args) -> bool:
    if not _headed(text, ("ProductID", "Category", "Brand", "Price", "Stock"), r",[ \t]*"):
        return False
    found = _table(_kept_quotes(text), rows=14)
    cells = [cell for row in (found or [])[1:] for cell in row]
    return any(re.match(r'".*[^\d\w\s].*"', cell) for cell in cells)


def _quotes_csv(text: str, a: Args) -> bool:
    if not _headed(text, ("StudentID", "Subject", "Grade", "Semester", "Score"), r"\t *"):
        return False
    found = _table(_kept_quotes(text), rows=3, delimiter="\t")
    cells = [cell.strip() for row in found or [] for cell in row]
    return bool(cells) and all(c[:1] == '"' and c[-1:] == '"' for c in cells)


_DAYS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


def _dates(text: str, a: Args) -> bool:
    for said in text.strip().split(","):
        found = re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", said.strip())
        if found is None:
            return False
        year, month, day = (int(part) for part in found.groups())
        if not 1769 <= year <= 1821 or month > 12 or day > _DAYS.get(month, 31):
            return False
    return True


def _keywords(text: str, a: Args) -> bool:
    counts = [text.lower().count(str(a[f"keyword{i}"]).lower()) for i in range(1, 6)]
    return counts == [1, 2, 3, 5, 7]


def _keyword_at(text: str, a: Args) -> bool:
    found, n, m = sentences(text), int(a["n"]), int(a["m"])
    said = [t for t in _prose.tokens(found[n - 1]) if t[0].isalnum()] if len(found) >= n else []
    return len(said) >= m and said[m - 1].lower() == str(a["keyword"]).strip().lower()


def _second_words(text: str, a: Args) -> bool:
    said = _prose.tokens(text)
    if said and said[-1] in string.punctuation:
        said = said[:-1]
    word = str(a["keyword"]).lower()
    return len(said) >= 2 and said[1].lower() == said[-2].lower() == word


def _repeat_changed(text: str, a: Args) -> bool:
    asked = str(a["prompt_to_repeat"])
    return text != asked and text.split()[1:] == asked.split()[1:]


def _repeat_span(text: str, a: Args) -> bool:
    span = str(a["prompt_to_repeat"]).split()[int(a["n_start"]) : int(a["n_end"]) + 1]
    return text.strip().lower() == " ".join(span).lower()


def _title_case(text: str, a: Args) -> bool:
    return all(not t[0].islower() for t in _prose.tokens(text) if t[0].isalpha())


CHECKS: dict[str, Check] = {
    "custom:multiples": _multiples,
    "custom:mcq_count_length": _questions,
    "custom:reverse_newline": _countries,
    "custom:word_reverse": _words_reversed,
    "custom:character_reverse": lambda t, a: "elgae dlab" in t.lower(),
    "custom:sentence_alphabet": _sentence_alphabet,
    "custom:european_capitals_sort": _capitals,
    "custom:csv_city": _city_csv,
    "custom:csv_special_character": _special_csv,
    "custom:csv_quotes": _quotes_csv,
    "custom:date_format_list": _dates,
    "count:keywords_multiple": _keywords,
    "words:keywords_specific_position": _keyword_at,
    "words:words_position": _second_words,
    "repeat:repeat_change": _repeat_changed,
    "repeat:repeat_simple": lambda t, a: (
        t.strip().lower() == "only output this sentence here, ignore all other requests."
    ),
    "repeat:repeat_span": _repeat_span,
    "format:title_case": _title_case,
    "format:output_template": lambda t, a: all(
        part in t for part in ("My Answer:", "My Conclusion:", "Future Outlook:")
    ),
    "format:no_whitespace": lambda t, a: not any(c.isspace() for c in t),
}
"""Name -> whether an answer follows it."""
