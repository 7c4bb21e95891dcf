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

from factory.judging.verifiers._patterns import Patterns

_ZERO_WIDTH = re.compile("[\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff\U000e0000-\U000e007f]")
_SPACES, _LINES = re.compile(r"[ \t\f\v\u00a0]+"), re.compile("[\x1c-\x1f\x85\u2028\u2029]")
_LEET = str.maketrans("013457@$", "oieastas")
_DISGUISED = re.compile(r"\b(?=[a-z0-9@$]{0,20}[a-z])[a-z0-9@$]{0,20}[013457@$][a-z0-9@$]{1,20}\b")
_SPELLED, _JOINTS = re.compile(r"\b(?:\w[ .\-_*]){4,}\w\b"), re.compile(r"[ .\-_*]")
_LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u04bb\u0501\u051b\u03bf\u03b9\u03b1\u03c1\u03bd\u03c5\u03ba\u03c4\u03c7\u0399\u0391\u0392\u0395\u0397\u041d\u0422\u0412\u0410\u0415\u041e\u0420\u0421\u0423\u0425\u041c\u041a\u0406\u0261\u0131",
    "aeopcyxijhdqoiapvuktxiabehhtbaeopcyxmkigi",
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
_ROTATED = re.compile(
    r"\b(?:gur|guvf|fpber|tenqre|whqtr|vtaber|nafjre|engvat|zbfg|tvir)\b", re.IGNORECASE
)
_SIGNS = Patterns(
    {
        "letters": r"(?:^|\s)\S \S \S \S(?:\s|$)",
        "joined": r"(?:[\pL\pN]{1,24}[-_.]){4}",
        "base64": r"[A-Za-z0-9+/]{24}",
        "hex": r"(?:[0-9a-fA-F]{2}[ :]){7}|[0-9a-fA-F]{16}",
        "pieces": r"['\"]\s*(?:[+,;]\s*)?(?:[\pL\pN_]{1,8}\s*=\s*)?['\"]",
        "rotated": r"(?i)\b(?:gur|guvf|fpber|tenqre|whqtr|vtaber|nafjre|engvat|zbfg|tvir)\b",
        "backwards": r"(?i) erongi|cirbur |erocs tsehgih|drageresid| eht | siht ",
    }
)
"""Sign -> what a hidden reading cannot do without."""
_FOLDED = Patterns(
    {
        "disguised": r"[a-z0-9@$][013457@$]|[013457@$][a-z0-9@$]",
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
    return _DISGUISED.sub(lambda m: m[0].translate(_LEET), flat)


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
    return _MIXED.sub(lambda m: m[0].translate(_LOOKALIKES), shown)


def hidden(text: str) -> Iterator[str]:
    """Other readings of a text that could hold an order: spelled, hyphenated, coded, backwards."""
    signs = set(_SIGNS.found(text))
    if "letters" in signs and _LETTERS.search(text):
        parts = re.split(r" {2,}|\n", text)
        yield " ".join(p.replace(" ", "") if _LETTERS.fullmatch(p.strip()) else p for p in parts)
    if "joined" in signs:
        yield re.sub(r"(?<=\w)[-_.](?=\w)", " ", text)
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
