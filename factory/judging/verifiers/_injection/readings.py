"""The readings of a text under which words for a judge may hide: lookalikes, codes, spelled words.

A reading is made only where its sign stands in the text, and all signs are looked for at once.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Iterator

from factory.judging.verifiers._injection.patterns import Patterns

_ZERO_WIDTH = re.compile("[\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff\U000e0000-\U000e007f]")
_SPACES, _LINES = re.compile(r"[ \t\f\v\u00a0]+"), re.compile("[\x1c-\x1f\x85\u2028\u2029]")
_LEET = str.maketrans("0134567@$!|", "oieasgtasil")
_DISGUISED = re.compile(
    r"(?<![\w@$])(?=[\w@$!|]{0,20}[^\W\d_])[\w@$!|]{0,20}[0134567@$!|][\w@$!|]{0,20}[\w@$]"
)
_EMPHASIS, _MOST_READ = re.compile(r"[*_`~]+"), 20_000
_TEN = re.compile(r"\b1o\b")
_SPELLED, _JOINTS = re.compile(r"\b(?:\w[ .\-_*]){4,}\w\b"), re.compile(r"[ .\-_*]")
_LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u04bb\u0501\u051b\u03bf\u03b9\u03b1\u03c1\u03bd\u03c5\u03ba\u03c4\u03c7\u0399\u0391\u0392\u0395\u0397\u041d\u0422\u0412\u0410\u0415\u041e\u0420\u0421\u0423\u0425\u041c\u041a\u0406\u0261\u0131\u0455\u0405\u043a\u043c\u0442\u043d\u0432\u0475\u051d\u04cf",
    "aeopcyxijhdqoiapvuktxiabehhtbaeopcyxmkigisskmthbvwl",
)
_CYRILLIC = str.maketrans(
    "aeopcyxijsktmhbAEOPCYXIJSKTMHB",
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u043a\u0442\u043c\u043d\u0432"
    * 2,
)
_ONLY_CYRILLIC = re.compile(
    "[\u0431\u0433\u0434\u0436\u0437\u0438\u0439\u043b\u043f\u0444\u0446-\u044f\u0454\u0457\u0491]",
    re.IGNORECASE,
)
_MIXED = re.compile(
    r"\b(?=\w{0,30}[\u0370-\u052f\u0261\u0131])(?=\w{0,30}[a-z])\w{2,31}\b", re.IGNORECASE
)
_LETTERS = re.compile(r"(?<!\S)(?:\S (?=\S(?: |$|\n))){3,}\S(?!\S)")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_FLAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007f]+")
_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_HEX = re.compile(r"(?:\b[0-9a-fA-F]{2}[ :]){7,}[0-9a-fA-F]{2}\b|\b(?:0x)?(?:[0-9a-fA-F]{2}){8,}\b")
_PIECES = re.compile(r"['\"]\s*(?:[+,;]\s*)?(?:\w{1,8}\s*=\s*)?['\"]")
_ROT13 = (
    r"\b(?:gur|guvf|gung|lbhe?|naq|nyy|fpber|tenqre|whqtr|vtaber|nafjre|engvat|zbfg|tvir|znex|"
    r"cyrnfr|erfcbafr)\b"
)
_ROTATED = re.compile(_ROT13, re.IGNORECASE)
_DOTTED = re.compile(r"(?<![^\W_])(?:[^\W_][.\-_*]){2,}[^\W_](?![^\W_])")
_LONG_RUN = re.compile(r"(?<!\S)(?:\S ){11,}\S(?!\S)")
_JUDGE_SPELLED = re.compile(
    r"judge|grader|evaluator|rubric|reviewer|scorethis|givethis|fullmarks|topscore|ignore(?:all|the|any)"
)
_ONE_LETTER_EACH = re.compile(r"\S(?: \S)+")
_SIGNS = Patterns(
    {
        "letters": r"(?:^|\s)\S \S \S \S(?:\s|$)",
        "joined": r"(?:[\pL\pN]{1,24}[-_.]){4}",
        "base64": r"[A-Za-z0-9+/]{24}",
        "hex": r"(?:[0-9a-fA-F]{2}[ :]){7}|[0-9a-fA-F]{16}",
        "pieces": r"['\"]\s*(?:[+,;]\s*)?(?:[\pL\pN_]{1,8}\s*=\s*)?['\"]",
        "rotated": rf"(?i){_ROT13}",
        "backwards": r"(?i)\b(?:erongi|cirbur|tsehgih|drageresid|eht|siht|rewsna|egduj|erocs)\b",
        "dotted": r"[\pL\pN][.\-_*][\pL\pN][.\-_*][\pL\pN]",
    }
)
"""Sign -> what a hidden reading cannot do without."""
_FOLDED = Patterns(
    {
        "disguised": r"[\pL@$][0134567@$!|]|[0134567@$!|][\pL@$]",
        "spelled": r"(?:[\pL\pN_][ .\-_*]){4}",
    }
)


def plain(text: str) -> str:
    """The text in lower case and plain characters: no lookalikes, no zero-width ones, one space."""
    if text.isascii():
        return _LINES.sub("\n", _SPACES.sub(" ", text.casefold()))
    folded = unicodedata.normalize("NFKC", _ZERO_WIDTH.sub("", text)).casefold()
    parts = (c for c in unicodedata.normalize("NFD", folded) if not unicodedata.combining(c))
    without = unicodedata.normalize("NFC", "".join(parts))  # Korean syllables are whole again
    return _LINES.sub("\n", _SPACES.sub(" ", without.replace("\u2019", "'")))


def letters_for_digits(flat: str) -> str:
    """A folded text with the digits inside of words as the letters that they look like."""
    if "disguised" not in _FOLDED.found(flat):
        return flat
    return _DISGUISED.sub(lambda m: m[0].translate(_LEET), _TEN.sub("10", flat))


def without_emphasis(clean: str) -> str:
    """A folded text without the marks that set words apart: they do not part an order."""
    return _EMPHASIS.sub("", clean)


def spellings(flat: str) -> list[str]:
    """A folded text, and where it differs with the digits inside of words as letters."""
    return list(dict.fromkeys((flat, letters_for_digits(flat))))


def versions(flat: str) -> list[str]:
    """A folded text, and where it differs: s p e l l e d words joined; all digits as letters."""
    spelled = "spelled" in _FOLDED.found(flat)
    joined = _SPELLED.sub(lambda m: _JOINTS.sub("", m[0]), flat) if spelled else flat
    return list(dict.fromkeys((flat, joined, flat.translate(_LEET))))


def invisible(text: str) -> bool:
    """Whether a word stands in tag characters, which no font shows; flags of regions aside."""
    if text.isascii():
        return False
    return sum(map(len, _TAGS.findall(_FLAGS.sub("", text)))) > 3


def revealed(text: str) -> str:
    """The text with tag characters made visible and lookalikes in mixed words made Latin."""
    if text.isascii():
        return text
    shown = _TAGS.sub(lambda m: " " + "".join(chr(ord(c) - 0xE0000) for c in m[0]) + " ", text)
    return _MIXED.sub(_one_script, shown)


def _one_script(word: re.Match[str]) -> str:
    """A word of two scripts in one: Cyrillic where a letter of it is nothing but that."""
    return word[0].translate(_CYRILLIC if _ONLY_CYRILLIC.search(word[0]) else _LOOKALIKES)


def hidden(text: str) -> Iterator[str]:
    """Other readings of a text that could hold an order: spelled, hyphenated, coded, backwards."""
    signs = set(_SIGNS.found(text))
    if "letters" in signs and _LETTERS.search(text):
        parts = re.split(r" {2,}|\n", text)
        spelled = [_ONE_LETTER_EACH.fullmatch(p.strip()) for p in parts]
        yield " ".join(p.replace(" ", "") if s else p for p, s in zip(parts, spelled, strict=True))
    if "joined" in signs:
        yield re.sub(r"(?<=\w)[-_.](?=\w)", " ", text)
    if "dotted" in signs and _DOTTED.search(text):
        joined = _DOTTED.sub(lambda m: re.sub(r"[.\-_*]", "", m[0]), text)
        yield re.sub(r"[.\-_*]\s+[.\-_*]", " ", joined)
    if "base64" in signs:
        yield from _from_base64(text)
    if "hex" in signs:
        yield from _from_hex(text)
    if "rotated" in signs and len(_ROTATED.findall(text)) > 1:
        yield codecs.decode(text, "rot13")
    if "pieces" in signs and len(_PIECES.findall(text)) > 1:
        yield _PIECES.sub("", text)
    if "backwards" in signs:
        yield text[::-1]


def spells_out_a_judge(text: str) -> bool:
    """Whether letters with a space after each, no word parted from the next, name a judge."""
    if "letters" not in _SIGNS.found(text):
        return False
    runs = (m[0].replace(" ", "").lower() for m in _LONG_RUN.finditer(text))
    return any(_JUDGE_SPELLED.search(run) for run in runs)


def readings(text: str) -> Iterator[str]:
    """The text as it stands, in one script where that differs, and what may be hidden in it."""
    yield text
    shown = revealed(text)
    if shown != text:
        yield shown
    yield from hidden(shown[:_MOST_READ])


def _from_base64(text: str) -> Iterator[str]:
    for found in list(_BASE64.findall(text))[:20]:
        try:
            said = base64.b64decode(found + "=" * (-len(found) % 4), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            continue
        if said.isprintable() and " " in said:
            yield said


def _from_hex(text: str) -> Iterator[str]:
    for found in list(_HEX.findall(text))[:20]:
        said = bytes.fromhex(re.sub(r"0x|[ :]", "", found)).decode("latin-1")
        if said.isprintable() and " " in said:
            yield said
