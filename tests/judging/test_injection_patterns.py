"""All patterns of the injection detector are looked for at once, and none finds less for that."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.judging.verifiers._injection import evidence, readings, roles, signals, speech
from factory.judging.verifiers._injection.patterns import Patterns

TABLES = {
    "marks": speech.MARKS,
    "orders": speech.ORDERS,
    "tells": speech.TELLS,
    "signs": signals.SIGNS,
    "alone": signals.ALONE,
    "together": {**speech.TOGETHER, **signals.TOGETHER},
    "others": signals.OTHERS,
}
ONE_BY_ONE = {
    table: {name: re.compile(p, re.MULTILINE | re.ASCII) for name, p in patterns.items()}
    for table, patterns in TABLES.items()
}
AT_ONCE = {table: Patterns(patterns) for table, patterns in TABLES.items()}
TEXTS = Path(__file__).parents[2] / "bench" / "injection"


def written() -> list[str]:
    """The texts that were written for the detector, attacks and honest ones, folded."""
    lines = [
        line
        for file in sorted(TEXTS.glob("*.jsonl"))
        for line in file.read_text("utf-8").splitlines()
    ]
    return [readings.plain(json.loads(line)) for line in lines]


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_pass_finds_what_each_pattern_finds_by_itself(table: str) -> None:
    matched = set[str]()
    for text in written():
        alone = [name for name, p in ONE_BY_ONE[table].items() if p.search(text)]
        assert AT_ONCE[table].found(text) == alone, text
        matched.update(alone)
    assert len(matched) > len(TABLES[table]) // 2


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table in sorted(TABLES) for name in TABLES[table]]
)
@settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_string_that_a_pattern_describes_is_found(
    table: str, name: str, data: st.DataObject
) -> None:
    text = readings.plain(data.draw(st.from_regex(ONE_BY_ONE[table][name])))
    alone = bool(ONE_BY_ONE[table][name].search(text))
    assert (name in AT_ONCE[table].found(text)) == alone


def test_a_pattern_that_cannot_be_looked_for_is_named() -> None:
    with pytest.raises(ValueError, match="pattern ahead"):
        Patterns({"ahead": r"a(?=b)"})


def test_what_may_not_follow_is_looked_at_too() -> None:
    both = Patterns({"me": r"pick (?:me|this)\b(?! (?:up|of\b))", "up": r"\bup\b"})
    assert both.found("pick me up") == ["up"]
    assert both.found("pick me") == ["me"]


@settings(max_examples=300, deadline=None, database=None)
@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    shown = readings.revealed(text)
    for each in (readings.plain(text), *readings.hidden(shown), "\ud800" + text):
        for patterns in AT_ONCE.values():
            assert set(patterns.found(each)) <= set(patterns.names)


def test_a_sentence_that_is_not_weighed_holds_no_role_that_counts() -> None:
    skipped = 0
    for text in written():
        for piece in evidence._SENTENCE.split(text):
            sentence = (piece or "")[:600]
            if not sentence.strip() or evidence._may_weigh(sentence):
                continue
            skipped += 1
            tokens = roles.TOKEN.findall(sentence)
            for amid in (False, True):
                bits = roles.roles_in(sentence, tokens, amid_english=amid)
                assert not bits & evidence._KEYS, sentence
    assert skipped > 1_000
