"""Which language a prompt is in, as far as it can be told (langdetect, seeded).

Short texts, code and formulas cannot be told: they pass a language filter. So does what several
languages share; only a text that is clearly in another language is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langdetect.detector_factory import DetectorFactory

FEWEST_LETTERS = 40
"""Below this, langdetect takes one European language for another too often."""
SURE = 0.9
_MOST_CHARS = 600
"""The library takes time by the letter, and learns nothing new after a few sentences."""
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|[\w.]*[_/\\{}<>=;()\[\]]+[\w.]*", re.S)
_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,8})*")


@dataclass(frozen=True, slots=True)
class Language:
    """An ISO 639-1 code and how sure it is, in [0, 1]."""

    code: str
    probability: float


def stated(lang: str) -> str:
    """The language code that a row's own column states, or nothing where it is no code."""
    return re.split("[-_]", lang)[0].lower() if _TAG.fullmatch(lang) else ""


def language_of(text: str) -> Language | None:
    """The language of a text; None when it is too short or too mixed to be told."""
    from langdetect.lang_detect_exception import LangDetectException

    # Cut first: the pattern takes quadratic time on a hostile text without an end.
    prose = _CODE.sub(" ", text[: 4 * _MOST_CHARS])[:_MOST_CHARS]
    if sum(map(str.isalpha, prose)) < FEWEST_LETTERS:
        return None
    detector = _detectors().create()
    detector.append(prose)
    try:
        found = detector.get_probabilities()
    except LangDetectException:
        return None
    if not found or found[0].prob < SURE:
        return None
    return Language(str(found[0].lang).split("-")[0], round(float(found[0].prob), 3))


@cache
def _detectors() -> DetectorFactory:
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    detectors = DetectorFactory()
    detectors.load_profile(PROFILES_DIRECTORY)
    # Without a seed the library's own smoothing is random, and so would the pool be.
    detectors.seed = 0
    return detectors
