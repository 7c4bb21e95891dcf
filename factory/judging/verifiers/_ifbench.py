"""The 58 constraints of IFBench (Pyatkin et al. 2025, arXiv 2507.02833), by their published names.

Each is a function of an answer and the constraint's arguments. Names, arguments and what is counted
are those of the paper and its reference checkers (github.com/allenai/IFBench, Apache-2.0), also
where a description in words allows another reading: an overlap of trigrams is one of characters, a
vowel is one of aeiou. The functions are our own.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import Any

from factory.judging.verifiers import _ifbench_tasks, _prose
from factory.judging.verifiers._lists import NAMES, PRIMES, PRONOUNS
from factory.judging.verifiers._prose import bare, sentences, trimmed

Args = Mapping[str, Any]
Check = Callable[[str, Args], bool]


def _endings(text: str) -> Counter[str]:
    # A sentence that ends within quotes is of the type that its own mark says.
    return Counter(s.rstrip("\"')]}\u201d\u2019")[-1:] for s in sentences(text))


def _ratio_of_types(text: str, a: Args) -> bool:
    ends = _endings(text)
    return ends["."] == 2 * ends["?"]


def _balance_of_types(text: str, a: Args) -> bool:
    ends = _endings(text)
    return ends["."] == ends["?"] == ends["!"]


def _stop_words(text: str, a: Args) -> bool:
    words = _prose.words(text)
    stops = sum(w.lower() in _prose.STOP_WORDS for w in words)
    return bool(words) and 100 * stops / len(words) <= float(a["percentage"])


def _conjunctions(text: str, a: Args) -> bool:
    said = {w for w in text.split() if trimmed(w).lower() in _CONJUNCTIONS}
    return len(said) >= int(a["small_n"])


_CONJUNCTIONS = frozenset(("and", "but", "for", "nor", "or", "so", "yet"))


def _overlap(text: str, a: Args) -> bool:
    mine, theirs = _trigrams(text), _trigrams(str(a["reference_text"]))
    share = 100 * len(mine & theirs) / len(mine) if mine else -100
    return abs(share - float(a["percentage"])) <= 2


def _trigrams(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(len(text) - 2)}


def _alphabet(text: str, a: Args) -> bool:
    firsts = [w[0].lower() for w in bare(text).split()]
    letters = string.ascii_lowercase
    if not firsts or firsts[0] not in letters:
        return False
    start = letters.index(firsts[0])
    return all(c == letters[(start + i) % 26] for i, c in enumerate(firsts))


def _consonants(text: str, a: Args) -> bool:
    return all(re.search(r"[b-df-hj-np-tv-z]{2}", w) for w in text.lower().split())


def _alliteration(text: str, a: Args) -> bool:
    counts: list[int] = []
    for sentence in sentences(text):
        dressed = (w.lstrip(string.punctuation) for w in sentence.lower().split())
        runs = (len(list(run)) for _, run in groupby(filter(None, dressed), key=itemgetter(0)))
        counts.append(sum(run for run in runs if run > 1))
    return all(x < y for x, y in pairwise(counts))


def _palindromes(text: str, a: Args) -> bool:
    return sum(len(w) >= 5 and w == w[::-1] for w in bare(text).lower().split()) >= 10


def _punctuation(text: str, a: Args) -> bool:
    # A pair that serves as the interrobang is spent: another ? and ! must stand elsewhere.
    spent = "?!" in text or "!?" in text
    if not spent and "\u203d" not in text:
        return False
    return all(m in text for m in ".,;:") and min(map(text.count, "?!")) > spent


def _parentheses(text: str, a: Args) -> bool:
    # What stands open after each bracket; a bracket that closes another kind throws it all away.
    open_after = accumulate(re.findall(r"[][(){}]", text), _bracket, initial="")
    return any(len(x) >= 5 and len(y) == len(x) - 1 for x, y in pairwise(open_after))


def _bracket(opened: str, c: str) -> str:
    if c in "([{":
        return opened + c
    return opened[:-1] if opened[-1:] + c in ("()", "[]", "{}") else ""


def _quotes(text: str, a: Args) -> bool:
    open_after = accumulate(re.findall("[\"']", text), _quote, initial="")
    depths = [len(opened) for opened in open_after]
    return any(top - now >= 3 for top, now in zip(accumulate(depths, max), depths, strict=True))


def _quote(opened: str, c: str) -> str:
    return opened[:-1] if opened.endswith(c) else opened + c


def _options(text: str, a: Args) -> bool:
    said = str(a["options"])
    options = said.split(next((s for s in ("/", "or") if s in said), ","))
    if re.sub(r"\W", "", said).lower().startswith("abc"):
        return text in (o.strip() for o in options)
    return trimmed(text).lower() in (trimmed(o.strip()).lower() for o in options)


def _a_word_a_line(text: str, a: Args) -> bool:
    lines = [line for line in bare(text).strip().split("\n") if line]
    return len(lines) == len(bare(text).split())


def _emoji_ends(text: str, a: Args) -> bool:
    found = [bare(s).strip() for s in sentences(text)]
    # A picture after the full stop opens the next sentence, and counts for the one before it.
    after = [*(s[:1] for s in found[1:]), ""]
    return all(
        s and any(map(_prose.is_emoji, s[-2:] + c)) for s, c in zip(found, after, strict=True)
    )


def _three_alike(text: str, a: Args) -> bool:
    lengths = [len(s) for s in sentences(text)]
    return len(lengths) == 3 and len(set(lengths)) == 1


def _japanese(text: str, a: Args) -> bool:
    n = int(a["N"])
    every = [trimmed(w) for w in text.split()[n - 1 :: n]]
    return all(
        re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", w) for w in every if w and not w.isdigit()
    )


def _starts_with_verb(text: str, a: Args) -> bool:
    found = _prose.tokens(text)
    return bool(found) and _prose.is_verb(found[0])


def _repeats(text: str, a: Args) -> bool:
    counts = Counter(bare(text.lower()).split())
    return max(counts.values(), default=0) <= int(a["small_n"])


def _keyword_in_sentence(text: str, a: Args) -> bool:
    n = int(a["N"])
    word = re.compile(rf"\b{re.escape(str(a['word']))}\b", re.IGNORECASE)
    return any(map(word.search, sentences(text)[n - 1 : n]))


def _pronouns(text: str, a: Args) -> bool:
    said = re.findall(r"\w+", text.lower())
    return sum(w in PRONOUNS for w in said) >= int(a["N"])


def _parity(text: str, a: Args) -> bool:
    odd = [_prose.syllables(w) % 2 for w in bare(text).lower().split()]
    return all(x != y for x, y in pairwise(odd))


def _last_first(text: str, a: Args) -> bool:
    edge, found = string.punctuation + " ", [s.lower() for s in sentences(text)]
    lasts = [s.rstrip(edge).split()[-1:] for s in found[:-1]]
    firsts = [s.lstrip(edge).split()[:1] for s in found[1:]]
    return lasts == firsts and all(lasts)


def _paragraph_last_first(text: str, a: Args) -> bool:
    said = [trimmed(p.strip().lower()).split() for p in text.split("\n")]
    return all(p[0] == p[-1] for p in said if p)


def _increment(text: str, a: Args) -> bool:
    counts = [len(bare(s).split()) for s in sentences(text)]
    return all(y == x + int(a["small_n"]) for x, y in pairwise(counts))


def _no_consecutive(text: str, a: Args) -> bool:
    firsts = [w[0] for w in bare(text.lower()).split()]
    return all(x != y for x, y in pairwise(firsts))


def _stairs(text: str, a: Args) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    depth = [len(line) - len(line.lstrip(" ")) for line in lines]
    return all(y > x for x, y in pairwise(depth))


def _quote_unquote(text: str, a: Args) -> bool:
    said = re.sub("[\u201c\u201d]", '"', text).replace("'\"'", "")
    return _UNEXPLAINED.search(said) is None


_UNEXPLAINED = re.compile(r'"(?:\s*"|[\s0-9!#-/:-@[-`{-~]*\Z)')
"""A quotation mark with no word between it and the next one, or between it and the end."""


def _thesis(text: str, a: Args) -> bool:
    found = re.search(r"<(i|em)>(.*?)</(?:i|em)>(.*)", text, re.DOTALL)
    return found is not None and bool(found[2].strip()) and bool(found[3].strip())


def _sub_bullets(text: str, a: Args) -> bool:
    return all("-" in part for part in text.split("*")[1:])


def _sentences_then_bullets(text: str, a: Args) -> bool:
    lines = [line.strip() for line in text.split("\n")]
    shape = "".join("*" if line.startswith("*") else "s" if line else "-" for line in lines)
    said = sum(len(sentences(line)) for line, kind in zip(lines, shape, strict=True) if kind == "s")
    return said >= 2 and re.fullmatch(r"s+-?\*\*+", shape) is not None


CHECKS: dict[str, Check] = _ifbench_tasks.CHECKS | {
    "count:word_count_range": lambda t, a: (
        int(a["min_words"]) <= len(_prose.words(t)) <= int(a["max_words"])
    ),
    "count:unique_word_count": lambda t, a: (
        len({trimmed(w) for w in t.lower().split()}) >= int(a["N"])
    ),
    "ratio:stop_words": _stop_words,
    "ratio:sentence_type": _ratio_of_types,
    "ratio:sentence_balance": _balance_of_types,
    "count:conjunctions": _conjunctions,
    "count:person_names": lambda t, a: (
        sum(bool(re.search(rf"\b{name}\b", t)) for name in NAMES) >= int(a["N"])
    ),
    "ratio:overlap": _overlap,
    "count:numbers": lambda t, a: len(re.findall(r"\d+", bare(t))) == int(a["N"]),
    "words:alphabet": _alphabet,
    "words:vowel": lambda t, a: "\n" not in t.strip() and len(set(t.lower()) & set("aeiou")) <= 3,
    "words:consonants": _consonants,
    "sentence:alliteration_increment": _alliteration,
    "words:palindrome": _palindromes,
    "count:punctuation": _punctuation,
    "format:parentheses": _parentheses,
    "format:quotes": _quotes,
    "words:prime_lengths": lambda t, a: all(len(w) in PRIMES for w in bare(t).split()),
    "format:options": _options,
    "format:newline": _a_word_a_line,
    "format:emoji": _emoji_ends,
    "ratio:sentence_words": _three_alike,
    "count:words_japanese": _japanese,
    "words:start_verb": _starts_with_verb,
    "words:repeats": _repeats,
    "sentence:keyword": _keyword_in_sentence,
    "count:pronouns": _pronouns,
    "words:odd_even_syllables": _parity,
    "words:last_first": _last_first,
    "words:paragraph_last_first": _paragraph_last_first,
    "sentence:increment": _increment,
    "words:no_consecutive": _no_consecutive,
    "format:line_indent": _stairs,
    "format:quote_unquote": _quote_unquote,
    "format:list": lambda t, a: t.count(str(a["sep"])) >= 2,
    "format:thesis": _thesis,
    "format:sub-bullets": _sub_bullets,
    "format:no_bullets_bullets": _sentences_then_bullets,
}
"""Name -> whether an answer follows it."""
