"""Language: the answer is in the language that was asked for.

Arguments: `language` (a code such as `de`, `pt-BR` or `zh-cn`, of which only Chinese has countries
that can be told apart; by default that of the last message of the prompt),
`min_letters` (20): a shorter text is in no language that could be told and passes. Told by
langdetect, a naive Bayes model over character n-grams, with its lot fixed; text in code fences and
addresses are not counted. It takes Norwegian for Danish, or Malay for Indonesian, now and then.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache

from factory.judging.outcomes import Verdict, failed, good
from factory.judging.verifiers._read import args_of

VERSION = "2"
ISOLATED = True
_ASIDE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|\S+@\S+", re.DOTALL)
_MOST = 20_000
"""Characters that are read: a language is told by far fewer."""


def language_of(text: str) -> str | None:
    """The code of a text's language, or None where it cannot be told."""
    import langdetect

    _fixed()
    try:
        return str(langdetect.detect(text[:_MOST]))
    except langdetect.LangDetectException:
        return None


@lru_cache(maxsize=1)
def _fixed() -> None:
    from langdetect import DetectorFactory

    # The detector draws at random unless told otherwise, and a verdict must not depend on the day.
    DetectorFactory.seed = 0


@lru_cache(maxsize=1)
def _told() -> frozenset[str]:
    """The codes that the detector knows."""
    from langdetect import PROFILES_DIRECTORY

    return frozenset(os.listdir(PROFILES_DIRECTORY))


def code_of(given: str) -> str:
    """The code of a language tag, as the detector writes it.

    Raises:
        ValueError: when it is none that can be told.
    """
    code = _code(given)
    if code not in _told() | {"zh"}:
        raise ValueError(f"{given} cannot be told")
    return code


def same_language(found: str, wanted: str) -> bool:
    """Whether two codes are of one language: zh-cn and zh-tw are both zh to who asks for zh."""
    return found == wanted or found.split("-")[0] == wanted


def _code(given: str) -> str:
    """A language tag as the detector writes it: without a country, except for Chinese."""
    tag = given.strip().casefold().replace("_", "-")
    if tag.startswith("zh-"):
        where = {"zh-hans": "zh-cn", "zh-sg": "zh-cn", "zh-hant": "zh-tw", "zh-hk": "zh-tw"}
        return where.get(tag, tag if tag in ("zh-cn", "zh-tw") else "zh")
    base = tag.partition("-")[0]
    return {"nb": "no", "nn": "no", "iw": "he", "in": "id", "fil": "tl"}.get(base, base)


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 for the language asked for, 0.0 with the found one as the reason."""
    args = args_of(prompt)
    wanted = _code(str(args.get("language") or "")) or _asked(prompt.get("messages"))
    if not wanted:
        return failed("error", "no_language_asked")
    if wanted not in _told() | {"zh"}:
        return failed("error", "language_cannot_be_told")
    said = _ASIDE.sub(" ", text)
    if sum(c.isalpha() for c in said) < int(str(args.get("min_letters", 20))):
        return good(1.0, reason="too_short_to_tell")
    found = language_of(said)
    if found is None:
        return good(1.0, reason="cannot_be_told")
    same = same_language(found, wanted)
    return good(1.0 if same else 0.0, reason="" if same else f"is_{found}")


def _asked(messages: object) -> str:
    listed = json.loads(messages) if isinstance(messages, str) else messages
    if not isinstance(listed, list) or not listed:
        return ""
    said = _ASIDE.sub(" ", str(listed[-1].get("content", "")))
    return (language_of(said) or "") if sum(c.isalpha() for c in said) >= 20 else ""
