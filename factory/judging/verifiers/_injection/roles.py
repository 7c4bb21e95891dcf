"""The roles that words play in a sentence: who judges, what is judged, a score, an order.

`cues` says what a word alone may be; here neighbouring words make more of it: a text that is this
very one, a judge who is spoken to, a machine that judges, a score that is yours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache

from factory.judging.verifiers._injection import cues, other_cues

ROLES = (
    *cues.ENGLISH,
    *("address_grader", "address_judge", "self", "rival", "your_score", "top_score", "order_top"),
    *("imperative", "machine_judge"),
)
BIT = {role: 1 << i for i, role in enumerate(ROLES)}
_JUDGE = BIT["grader"] | BIT["judge"]
_DISGUISED = sum(BIT[role] for role in ("grader", "judge", "rubric", "score", "process", "drop"))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOKEN = re.compile(r"(?:[^\W_]|[\u0900-\u0963\u0966-\u0dff])+(?:'[a-z]{1,2}\b)?|[^\w\s]")
UNSPACED = re.compile(r"[\u0590-\u06ff\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
_FOREIGN = _words(
    "la le el los las les der die das den dem und ist ein eine nicht et est que un una il lo "
    "di per con em um uma na no os y e o se wird diese dieser bitte keine volle mit von zu "
    "auf fur du sie het een van voor dit geef och att det ge og er til giv ve bir bu icin "
    "yang dan ini untuk w z do na te ta jest nie si za pro je cho cau nay diem la de en ez az "
    "es a i da ca acest pentru sa se"
)
_AFTER = _words(
    "must should shall ought need needs has have please kindly to and then just simply now "
    "only always never don't not so instead"
)
COMMON = _words(
    "the a an of to and in is it that this for on with as are was be by at or from have has "
    "had not but will would can could so if then there here when what which who i we he she "
    "they them his her their our its my me us do does did been being were than too also into "
    "about just one all any some more no yes up out over how these those am im i'm it's don't "
    "may might"
)
_FREQUENT = COMMON | _AFTER | {"you", "your"}
ACTING = _words(
    "assessing grading judging rating scoring marking evaluating comparing reviewing reading "
    "deciding weighing ranking checking assigning"
)
_PREFERRING = _words("choose pick prefer rate score grade mark judge rank select favour favor find")


def fold(text: str) -> str:
    """Lower case without accents, as `_readings.plain` leaves a text."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    parts = (c for c in unicodedata.normalize("NFD", folded) if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", "".join(parts))


class _Lexicon:
    """Words, beginnings of words and phrases, each with the bits of its roles."""

    def __init__(self, roles: dict[str, str]) -> None:
        self.words: dict[str, int] = {}
        self.stems: dict[str, int] = {}
        self.phrases: dict[str, int] = {}
        for role, text in roles.items():
            for entry in text.split():
                word = fold(entry.rstrip("*")).replace("-", "_")
                into = self.stems if entry.endswith("*") else self.words
                if "_" in word:
                    word, into = word.replace("_", " "), self.phrases
                into[word] = into.get(word, 0) | BIT[role]
        self.longest = max(map(len, self.stems), default=0)
        held = sorted(self.phrases, key=len, reverse=True)
        self.phrase = re.compile(r"\b(?:" + "|".join(map(re.escape, held)) + r")\b")

    def misspelled(self) -> dict[str, int]:
        """Long words with two letters swapped or one left out, as haste or disguise spells them."""
        made: dict[str, int] = {}
        for word, bits in self.words.items():
            if bits & _DISGUISED and len(word) > 4 and word.isascii():
                made[word[0] + "".join(sorted(word[1:]))] = bits
                for i in range(1, len(word) if len(word) > 6 else 0):
                    made.setdefault(word[:i] + word[i + 1 :], bits)
        return made

    def roles(self, word: str) -> int:
        found = self.words.get(word, 0)
        for n in range(2, min(len(word), self.longest) + 1):
            found |= self.stems.get(word[:n], 0)
        return found


@cache
def _lexicons() -> tuple[_Lexicon, _Lexicon]:
    return _Lexicon(cues.ENGLISH), _Lexicon(other_cues.OTHERS)


@cache
def _misspelled() -> dict[str, int]:
    return _lexicons()[0].misspelled()


@lru_cache(maxsize=1 << 16)
def english(word: str) -> int:
    """The roles of an English word in lower case, as bits."""
    found = _lexicons()[0].roles(word)
    if found or len(word) < 5 or "'" in word:
        return found
    known = _misspelled()
    return known.get(word, 0) or known.get(word[0] + "".join(sorted(word[1:])), 0)


@lru_cache(maxsize=1 << 16)
def any_language(word: str) -> int:
    """The roles of a word of any language in lower case without accents, as bits."""
    return english(word) | _lexicons()[1].roles(word)


@cache
def _runs() -> dict[str, re.Pattern[str]]:
    made: dict[str, re.Pattern[str]] = {}
    for role, text in other_cues.RUNS.items():
        words = sorted({fold(w).replace("_", " ") for w in text.split()}, key=len, reverse=True)
        made[role] = re.compile("|".join(map(re.escape, words)))
    who = f"{made['grader'].pattern}|{made['judge'].pattern}"
    made["address"] = re.compile(
        rf"(?:{who})[^\s,.:\uff0c\u3001\uff1a\u060c]{{0,6}}\s?[,:!\uff0c\u3001\uff1a\u060c\uff01]"
    )
    return made


def _around(bits: list[int], i: int, before: int, after: int) -> int:
    found = 0
    for b in bits[max(0, i - before) : i + after + 1]:
        found |= b
    return found


def _judge_at(tokens: list[str], bits: list[int], i: int) -> int:
    """Whether the judge named at `i` is a machine and whether it is spoken to."""
    last, after = (tokens[i - 1] if i else ""), (tokens[i + 1] if i + 1 < len(tokens) else "")
    near = _around(bits, i - 1, 2, 0) if i else 0
    found = BIT["machine_judge"] if (near | _around(bits, i + 1, 0, 1)) & BIT["machine"] else 0
    opens = (not last or not last[0].isalnum()) and after and not after[0].isalnum()
    called = after in {":", ","} and (i < 3 or near & BIT["machine"])
    if near & BIT["to"] or opens or called:
        found |= BIT["address_grader" if bits[i] & BIT["grader"] else "address_judge"]
    return found


def _order_at(tokens: list[str], bits: list[int], i: int) -> int:
    """Whether the verb at `i` is an order, and one for something high."""
    last = tokens[i - 1] if i else ""
    found = BIT["imperative"] if not last or not last[0].isalnum() or last in _AFTER else 0
    return found | (BIT["order_top"] if _around(bits, i + 1, 0, 5) & BIT["top"] else 0)


def _meet(tokens: list[str], bits: list[int], i: int, *, foreign: bool) -> int:
    """What the word at `i` makes together with the words beside it, as bits."""
    found, here = 0, bits[i]
    if here & _JUDGE:
        found |= _judge_at(tokens, bits, i)
    if here & BIT["text"]:
        near = _around(bits, i, 2, 2 if foreign else 1)
        found |= BIT["self"] if near & BIT["this"] else 0
        numbered = i + 1 < len(tokens) and tokens[i + 1] in {"a", "b", "1", "2"}
        found |= BIT["rival"] if near & BIT["other"] or numbered else 0
    if here & BIT["machine"] and not ACTING.isdisjoint(tokens[i + 1 : i + 4]):
        found |= BIT["machine_judge"]
    if tokens[i] == "mine" or (tokens[i] == "me" and i and tokens[i - 1] in _PREFERRING):
        found |= BIT["self"]
    if here & BIT["score"]:
        near = _around(bits, i, 3, 3)
        found |= BIT["your_score"] if near & BIT["you"] else 0
        found |= BIT["top_score"] if near & BIT["top"] else 0
    if here & BIT["demand"]:
        found |= _order_at(tokens, bits, i)
    return found


def _unspaced(sentence: str) -> int:
    """The roles in a sentence of a script that writes no spaces or puts articles before words."""
    found = 0
    for role, pattern in _runs().items():
        if role != "address" and pattern.search(sentence):
            found |= BIT[role]
    if _runs()["address"].search(sentence):
        found |= BIT["address_grader" if found & BIT["grader"] else "address_judge"]
    for both, makes in (
        (("top", "score"), "top_score"),
        (("top", "demand"), "order_top"),
        (("top", "demand"), "imperative"),
        (("you", "score"), "your_score"),
        (("machine", "grader"), "machine_judge"),
        (("machine", "judge"), "machine_judge"),
    ):
        if all(found & BIT[role] for role in both):
            found |= BIT[makes]
    return found


def is_english(tokens: list[str]) -> bool:
    """Whether a text is in English: one word in seven of it is among the most common."""
    words = [t for t in tokens if t[0].isalnum() or ord(t[0]) > 0x8FF]
    return 7 * sum(t in _FREQUENT for t in words) >= len(words)


def is_foreign(tokens: list[str], *, amid_english: bool) -> bool:
    """Whether a sentence is not in English; amid English a heading or a short order is."""
    words = {t for t in tokens if t[0].isalnum() or ord(t[0]) > 0x8FF}
    here, there = words & _FREQUENT, words & _FOREIGN
    if not amid_english and not here:
        return True
    return len(there - here) > len(here - there) or not all(map(str.isascii, words))


def roles_in(sentence: str, tokens: list[str], *, amid_english: bool) -> int:
    """The roles of a sentence's words and what neighbouring ones make, as bits."""
    foreign = is_foreign(tokens, amid_english=amid_english)
    role = any_language if foreign else english
    bits = [role(token) for token in tokens]
    found = 0
    for i, here in enumerate(bits):
        if here or tokens[i] in {"mine", "me"}:
            found |= here | _meet(tokens, bits, i, foreign=foreign)
    for lexicon in _lexicons() if foreign else _lexicons()[:1]:
        for match in lexicon.phrase.finditer(sentence):
            found |= lexicon.phrases[match[0]]
    return found | _unspaced(sentence) if UNSPACED.search(sentence) else found


def phrases() -> Iterator[tuple[str, int]]:
    """Every phrase of the lexicons with the bits of its roles."""
    for lexicon in _lexicons():
        yield from lexicon.phrases.items()
