"""Constraints of IFBench that are whole tasks, or that fix words and places.

Names, arguments and what is counted: github.com/allenai/IFBench (Apache-2.0); see `_ifbench`.
"""

from __future__ import annotations

import csv
import io
import re
import string
from collections.abc import Callable, Mapping, Sequence
from itertools import dropwhile, pairwise
from typing import Any

from factory.judging.verifiers import _prose
from factory.judging.verifiers._lists import CAPITALS
from factory.judging.verifiers._prose import bare, sentences, trimmed

Args = Mapping[str, Any]
Check = Callable[[str, Args], bool]


def _multiples(text: str, a: Args) -> bool:
    return re.findall(r"\d+", text) == ["14", "21", "28", "35", "42", "49"]


def _questions(text: str, a: Args) -> bool:
    parts = [p for part in re.split(r"Question \d+[.):;|]?", text) if (p := part.strip())]
    asked = [_asked(part.split("\n")) for part in parts]
    return (
        text.startswith("Question")
        and len(parts) == 4
        and None not in asked
        and all(x < y for x, y in pairwise(n for n in asked if n is not None))
    )


def _asked(lines: Sequence[str]) -> int | None:
    """The length of a question before its options; None unless these are five."""
    options = [i for i, s in enumerate(lines) if re.match(r"\s*[A-Ea-e][.)|]\s*\w", s)]
    return len(" ".join(s.strip() for s in lines[: options[0]])) if len(options) == 5 else None


def _countries(text: str, a: Args) -> bool:
    lines = filter(None, map(trimmed, text.split("\n")))
    named = [_prose.plain(s) for s in dropwhile(lambda s: "Zimbabwe" not in s, lines)]
    return len(named) >= 52 and named == sorted(named, reverse=True)


def _words_reversed(text: str, a: Args) -> bool:
    return "bald eagle" in " ".join(reversed(bare(text).lower().split()))


def _sentence_alphabet(text: str, a: Args) -> bool:
    firsts = [s.split()[0][0].lower() for s in sentences(text)]
    return firsts == list(string.ascii_lowercase)


def _capitals(text: str, a: Args) -> bool:
    said = [c.strip() for c in _prose.plain(text).split(",") if c.strip()]
    return said == list(CAPITALS)


def _city_csv(text: str, a: Args) -> bool:
    try:
        header, *rows = csv.reader(io.StringIO(text))
    except (csv.Error, ValueError):
        return False
    return (
        header == ["ID", "Country", "City", "Year", "Count"] and [len(r) for r in rows] == [5] * 7
    )


def _headed(text: str, names: Sequence[str], separator: str) -> bool:
    cells = separator.join(f'(?:{n}|"{n}")' for n in names)
    return re.fullmatch(cells, text.split("\n")[0].strip()) is not None


def _as_written(text: str, *, rows: int, delimiter: str) -> list[str]:
    """The cells of as many rows of five and a header, in their quotes; none for another shape."""
    cell = rf'("(?:[^"]|"")*"?[^{delimiter}\n]*|[^{delimiter}\n]*)({delimiter}|\n)'
    found = re.findall(cell, text.removesuffix("\n") + "\n")
    ends = "".join(end for _, end in found)
    return [said for said, _ in found] if ends == (delimiter * 4 + "\n") * (rows + 1) else []


def _special_csv(text: str, a: Args) -> bool:
    if not _headed(text, ("ProductID", "Category", "Brand", "Price", "Stock"), r",[ \t]*"):
        return False
    cells = _as_written(text, rows=14, delimiter=",")
    return any(re.match(r'".*[^\w\s].*"', cell) for cell in cells[5:])


def _quotes_csv(text: str, a: Args) -> bool:
    if not _headed(text, ("StudentID", "Subject", "Grade", "Semester", "Score"), r"\t *"):
        return False
    cells = _as_written(text, rows=3, delimiter="\t")
    return bool(cells) and all(re.match(r'\s*"(.*")?\s*\Z', cell, re.DOTALL) for cell in cells)


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
