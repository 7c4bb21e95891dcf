"""What is looked at before a pattern of the injection detector never hides a match from it."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from factory.judging.verifiers import _needs, _signals, _speech, injection

PATTERNS: dict[str, re.Pattern[str]] = {
    **injection._COMPILED_MARKS,
    **injection._COMPILED_ORDERS,
    **injection._COMPILED_TELLS,
    **injection._SIGNS,
    **_signals._COMPILED,
    "trade": _speech.TRADE,
    "called": _speech.CALLED,
    "judging": _speech.JUDGING,
    "prize": _speech.PRIZE,
    "itself": _speech.SELF,
    "who": _signals._WHO,
    "of_trade": _signals._OF_TRADE,
    "x_drop": _signals._X["drop"],
    "x_judge": _signals._X["judge"],
    "x_text": _signals._X["text"],
}
STEMS = {**_speech.NEEDS, **_signals.NEEDS}


def test_every_pattern_that_is_looked_at_first_is_known_here() -> None:
    gated = set(_needs._BEGIN) | set(_needs._INSIDE) | set(STEMS)
    assert gated <= set(PATTERNS)


@pytest.mark.parametrize("name", sorted(PATTERNS))
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_match_lacks_the_parts_that_are_looked_for_first(name: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(PATTERNS[name])).lower()
    assume(PATTERNS[name].search(text))
    assert _needs.Parts(text).may_match(name)
    needed = STEMS.get(name, ())
    groups = needed if needed and isinstance(needed[0], tuple) else (needed,) if needed else ()
    assert all(any(stem in text for stem in group) for group in groups)
