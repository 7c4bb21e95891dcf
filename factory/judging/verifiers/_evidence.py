"""Evidence, summed over one sentence or two, that a text speaks to its judge, in any wording.

Patterns find the wordings that somebody foresaw. Here every word has roles (`_cues`: who judges,
what is judged, a score, how high, an order, a rule and its dropping, in some thirty languages), and
what meets in a sentence is added up: its words, its neighbouring words, its roles and every two
roles. The weights are data, `injection_weights.tsv`: a logistic regression over texts written for
it, attacks and honest talk of marks and judges, and over ordinary answers under MIT and Apache
licences. `bench/injection/` holds the texts and the script that makes the weights.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, cached_property, lru_cache
from itertools import combinations, pairwise, product
from pathlib import Path

from factory.judging.verifiers import _cues

ROLES = (
    *_cues.ENGLISH,
    *("address_grader", "address_judge", "self", "rival", "your_score", "top_score", "order_top"),
    *("imperative", "machine_judge"),
)
BIT = {role: 1 << i for i, role in enumerate(ROLES)}
_JUDGE = BIT["grader"] | BIT["judge"]
_STRONG = tuple(
    role
    for role in ROLES
    if role in {"grader", "judge", "score", "rubric", "self", "rival", "your_score"}
    or role.startswith(("address", "machine_"))
)
_WEAK = tuple(
    role for role in ROLES if role not in _STRONG and role not in {"to", "this", "other", "text"}
)
_DISGUISED = sum(BIT[role] for role in ("grader", "judge", "rubric", "score", "process", "drop"))
_KEYS = sum(BIT[role] for role in _STRONG)
"""Roles without which a sentence is not weighed, and what is weighed only beside one of them."""
_ALONE = sum(BIT[role] for role in ("grader", "judge", "score", "rubric"))
_WHICH = BIT["this"] | BIT["other"] | (_NUMBERED := 1 << len(ROLES))
_SEEDS = _ALONE | BIT["text"] | BIT["this"] | BIT["other"] | BIT["machine"]
_ACTS = 2 << len(ROLES)
"""Of which roles of words those of `_KEYS` are made: one of `_ALONE`, a text with what says which,
a machine with what it does."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOKEN = re.compile(r"(?:[^\W_]|[\u0900-\u0963\u0966-\u0dff])+(?:'[a-z]{1,2}\b)?|[^\w\s]")
_SENTENCE = re.compile(
    r"(?<=[.!?;\u2026])['\"\u201d)\]*]*\s+|\n+|[\u3002\uff01\uff1f!?\u0964\u06d4\u061f]+|\s[\u2192|]\s"
)
_UNSPACED = re.compile(r"[\u0590-\u06ff\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
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
_COMMON = _words(
    "the a an of to and in is it that this for on with as are was be by at or from have has "
    "had not but will would can could so if then there here when what which who i we he she "
    "they them his her their our its my me us do does did been being were than too also into "
    "about just one all any some more no yes up out over how these those am im i'm it's don't "
    "may might"
)
_FREQUENT = _COMMON | _AFTER | {"you", "your"}
_ACTING = _words(
    "assessing grading judging rating scoring marking evaluating comparing reviewing reading "
    "deciding weighing ranking checking assigning"
)
_MOST_WORDS, _MOST_TOGETHER, _LEAST_SPREAD = 60, 50, 100.0
_PREFERRING = _words("choose pick prefer rate score grade mark judge rank select favour favor find")
_MOST_OF_A_PROMPT = 10_000
_SPACED = str.maketrans(dict.fromkeys("!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'", " "))


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
    return _Lexicon(_cues.ENGLISH), _Lexicon(_cues.OTHERS)


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
    for role, text in _cues.RUNS.items():
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
    if here & BIT["machine"] and not _ACTING.isdisjoint(tokens[i + 1 : i + 4]):
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
    return found | _unspaced(sentence) if _UNSPACED.search(sentence) else found


def words_in(tokens: list[str]) -> list[str]:
    """The words of a sentence, without the most common, and every two that follow each other."""
    words = [t for t in tokens if t[0].isalnum() or ord(t[0]) > 0x8FF or t in "[{<$%"]
    words = words[:_MOST_WORDS]
    twos = (f"{a} {b}" for a, b in pairwise(words) if a not in _COMMON or b not in _COMMON)
    return [*(word for word in words if word not in _COMMON), *twos]


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
        return _TOKEN.findall(self.text)

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
        | (_ACTS if token in _ACTING else 0)
    )


def _may_weigh(text: str) -> bool:
    """Whether words can make a role of `_KEYS` together: never no where `roles_in` finds one."""
    if text.isascii():
        tokens = text.translate(_SPACED).split()
    elif _UNSPACED.search(text):
        return True
    else:
        tokens = _TOKEN.findall(text)
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
    phrases = [p for lexicon in _lexicons() for p in lexicon.phrases.items()]
    first = (_TOKEN.findall(phrase)[0] for phrase, bits in phrases if bits & _SEEDS)
    return frozenset({"mine", "me", *first})


def windows(text: str) -> Iterator[tuple[frozenset[str], int]]:
    """Words and roles of each sentence that is worth weighing, alone and with the one before."""
    if not _may_weigh(text):
        return
    amid = cache(lambda: is_english(_TOKEN.findall(text[:2_000])))
    last: _Sentence | None = None
    for piece in _SENTENCE.split(text):
        if not piece or not piece.strip():
            continue
        here = _Sentence(piece[:600], amid=amid)
        if here.may_weigh and here.roles & _KEYS:
            yield here.words, here.roles
        if (
            last
            and (here.may_weigh or last.may_weigh)
            and len(here.tokens) + len(last.tokens) <= _MOST_TOGETHER
            and (here.roles | last.roles) & _KEYS
        ):
            yield here.words | last.words, here.roles | last.roles
        last = here


def asks_for_judging(text: str) -> bool:
    """Whether a sentence of a folded prompt asks to judge a text: its answer may say so too."""
    wanted = BIT["text"] | BIT["demand"]
    for piece in _SENTENCE.split(text[:_MOST_OF_A_PROMPT]):
        if tokens := _TOKEN.findall(piece or ""):
            bits = roles_in(piece, tokens, amid_english=True)
            if bits & wanted == wanted and bits & (BIT["process"] | BIT["score"] | BIT["rubric"]):
                return True
    return False


@cache
def weights() -> dict[str, float]:
    """Feature -> weight, and under the empty name what every window starts from."""
    lines = Path(__file__).with_name("injection_weights.tsv").read_text("utf-8").splitlines()
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
