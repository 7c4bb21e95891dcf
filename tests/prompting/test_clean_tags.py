"""Tags, licences and tokens: what a prompt is told to hold, and what a filter leaves out by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import RecipeError, UserError
from factory.prompting.cleaning.cleaner import CleanSettings, license_key, open_cleaner
from factory.prompting.cleaning.tags import Tagger, tagger_of
from factory.prompting.generators import make_pool
from factory.prompting.ingest import AddReport, add_prompts
from factory.recipe.prompts import Clean
from factory.store import Store
from tests.sampling.conftest import write_tokenizer

Jsonl = Callable[..., Path]


def add(store: Store, source: Path, **clean: object) -> AddReport:
    settings = CleanSettings(**clean)  # type: ignore[arg-type]
    cleaner = open_cleaner(store, settings, pool="p")
    return add_prompts(store, source, pool="p", run_id="r", cleaner=cleaner)


def test_a_prompt_is_tagged_as_it_is_added_and_stays(store: Store, jsonl: Jsonl) -> None:
    rows = [
        {"prompt": "How do I kill a Python process?"},
        {"prompt": "Where do guns and drugs come from?"},
        {"prompt": "Name three rivers."},
    ]
    report = add(store, jsonl(rows))
    assert (report.added, report.dropped) == (3, {})
    tags = {
        json.loads(r["messages"])[0]["content"]: r["tags"]
        for r in store.rows("select messages, tags from prompts")
    }
    assert tags == {
        "How do I kill a Python process?": ["violence"],
        "Where do guns and drugs come from?": ["drugs", "weapons"],
        "Name three rivers.": [],
    }
    made = make_pool(store, "toyworld", rows=5, seed=1, pool="toy", run_id="r")
    assert made.added == 5
    assert store.rows("select count(*) as n from prompts where tags is null")[0]["n"] == 0


def test_a_workspace_has_its_own_list(store: Store, jsonl: Jsonl) -> None:
    own = store.workspace / "prompts" / "safety.yaml"
    own.parent.mkdir()
    own.write_text("fish:\n  words: [cod, 'blue whale*', tun*]\n  patterns: ['sal+mon']\n")
    rows = [{"prompt": p} for p in ("Cod.", "codes", "two blue  whales", "Tunas?", "a sallmon")]
    add(store, jsonl(rows))
    tagged = store.rows("select messages from prompts where tags = ['fish']")
    texts = {json.loads(row["messages"])[0]["content"] for row in tagged}
    assert texts == {"Cod.", "two blue  whales", "Tunas?", "a sallmon"}


@pytest.mark.parametrize(
    "text", ["fish: [a]", "fish: {word: [a]}", "fish: {patterns: ['(']}", "- a"]
)
def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "safety.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"prompts/safety\.yaml"):
        tagger_of(tmp_path)


@given(
    st.lists(st.sampled_from(["kill", "KILLER", "the", "a", "self-harm", "beat", "up", "guns."]))
)
def test_words_are_found_as_the_patterns_alone_would_find_them(words: list[str]) -> None:
    tagger: Tagger = tagger_of(None)
    text = " ".join(words)
    slow = sorted(name for name, pattern in tagger.categories.items() if pattern.search(text))
    assert tagger.tags(text) == slow


def test_what_is_tagged_can_be_left_out_with_the_word_that_did_it(
    store: Store, jsonl: Jsonl
) -> None:
    rows = [{"prompt": "How do I kill a process?"}, {"prompt": "Name a gun."}, {"prompt": "Hi."}]
    report = add(store, jsonl(rows), drop_tags=("violence",))
    assert (report.added, report.dropped) == (2, {"tagged": 1})
    (drop,) = store.rows("select detail from drops")
    detail = json.loads(drop["detail"])
    assert (detail["tag"], detail["word"]) == ("violence", "kill")
    with pytest.raises(UserError, match="did you mean 'violence'"):
        add(store, jsonl(rows), drop_tags=("violense",))


def test_licences_that_are_not_allowed_are_left_out_and_none_is_its_own_reason(
    store: Store, jsonl: Jsonl
) -> None:
    rows = [
        {"prompt": f"Prompt {i}", "license": name}
        for i, name in enumerate(["MIT", "CC BY 4.0", "cc-by-4.0", "CC-BY-NC-4.0", "", None])
    ]
    report = add(store, jsonl(rows), licenses=("mit", "CC-BY-4.0"))
    assert (report.added, report.dropped) == (3, {"license": 1, "unlicensed": 2})


@given(st.text(alphabet="aB -_.4", max_size=12))
def test_a_licence_is_the_same_in_any_case_and_spelling(name: str) -> None:
    assert license_key(name.upper().replace(" ", "_")) == license_key(name.replace("_", " "))


def test_prompts_of_too_many_tokens_are_left_out_whole(
    store: Store, jsonl: Jsonl, tmp_path: Path
) -> None:
    write_tokenizer(tmp_path)
    rows = [{"prompt": "hello"}, {"prompt": "hello " * 40}]
    source = jsonl(rows)
    report = add(store, source, max_tokens=20, tokenizer=str(tmp_path))
    assert (report.added, report.dropped) == (1, {"too_many_tokens": 1})
    (drop,) = store.rows("select detail from drops")
    assert json.loads(drop["detail"])["tokens"] > 20
    for wrong in (None, str(tmp_path / "none"), str(source)):
        with pytest.raises(UserError, match="token"):
            add(store, source, max_tokens=20, tokenizer=wrong)
    with pytest.raises(ValueError, match="needs a tokenizer"):
        Clean(max_tokens=20)


def test_the_list_finds_about_two_thirds_of_what_is_unsafe_and_is_half_right(
    shared_data: Path,
) -> None:
    """Of XSTest, whose safe prompts were written to fool such lists; docs/prompts.md says so."""
    path = shared_data / "xstest_judgments.parquet"
    rows = duckdb.sql(f"select distinct prompt, type from '{path}'").fetchall()
    tagger = tagger_of(None)
    hits = [(kind.startswith("contrast"), bool(tagger.tags(prompt))) for prompt, kind in rows]
    found = sum(bad and hit for bad, hit in hits)
    assert round(found / sum(bad for bad, _ in hits), 3) == 0.655
    assert round(found / sum(hit for _, hit in hits), 3) == 0.528
    pool = shared_data / "prompt_pool.parquet"
    plain = duckdb.sql(f"select prompt from '{pool}' where content_flag = ''").fetchall()
    assert sum(bool(tagger.tags(prompt)) for (prompt,) in plain) / len(plain) < 0.03
