"""Prompts go into one pool and one split, once, and whatever is left out keeps its reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.errors import UserError
from factory.prompting.cleaning.cleaner import Cleaner, CleanSettings
from factory.prompting.ingest import add_prompts
from factory.prompting.mapping import load, resolve
from factory.rows import prompt_id_of, split_of
from factory.store import Store, open_store

Jsonl = Callable[..., Path]


def test_law_12_a_prompt_is_in_one_split_by_hash(store: Store, jsonl: Jsonl) -> None:
    path = jsonl({"prompt": f"say {n}"} for n in range(400))
    add_prompts(store, path, pool="a", run_id="r", gate=0.25, dev=0.25)
    again = jsonl([{"prompt": f"say {n}"} for n in range(400)], name="b.jsonl")
    add_prompts(store, again, pool="b", run_id="r", gate=0.9, dev=0.0)
    rows = store.rows("select prompt_id, pool, split, messages from prompts")
    assert len(rows) == len({r["prompt_id"] for r in rows}) == 400
    assert {r["pool"] for r in rows} == {"a"}
    for row in rows:
        assert row["split"] == split_of(row["prompt_id"], gate=0.25, dev=0.25)
        assert row["prompt_id"] == prompt_id_of(json.loads(row["messages"]))
    assert {r["split"] for r in rows} == {"train", "dev", "gate"}


def test_bad_rows_are_drops_with_reasons_and_the_rest_is_added(store: Store, jsonl: Jsonl) -> None:
    path = jsonl(
        [
            {"prompt": "good"},
            {"prompt": "  "},
            {"prompt": None},
            {"prompt": 7},
            {"prompt": "a\x00b"},
            b'{"prompt": "lone \\ud800"}',
            b"{broken",
            b"\xff",
            {"prompt": "good"},
            {"prompt": "x" * 101},
            {"prompt": "also good"},
        ]
    )
    short = Cleaner(CleanSettings(max_chars=100))
    report = add_prompts(store, path, pool="p", run_id="r", cleaner=short)
    expected = {
        "empty_prompt": 2, "wrong_type": 1, "bad_text": 2, "malformed_json": 1,
        "invalid_utf8": 1, "duplicate": 1, "too_long": 1,
    }  # fmt: skip
    assert report.read == 11
    assert report.added == 2
    assert dict(report.dropped) == expected
    drops = store.rows("select reason, detail, stage from drops")
    assert len(drops) == 9
    by_reason = {d["reason"]: json.loads(d["detail"]) for d in drops}
    assert by_reason["malformed_json"] == {
        "file": "rows.jsonl", "row": 7, "pool": "p", "evidence": "{broken",
    }  # fmt: skip
    assert by_reason["duplicate"]["first"] == "rows.jsonl row 1"


def test_the_same_file_again_adds_nothing_and_says_so(store: Store, jsonl: Jsonl) -> None:
    path = jsonl([{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}, b"{"])
    first = add_prompts(store, path, pool="p", run_id="r1")
    tables = [store.rows(f"select * from {t} order by all") for t in ("prompts", "drops")]
    second = add_prompts(store, path, pool="p", run_id="r2")
    assert (first.added, second.added, second.present) == (2, 0, 2)
    assert second.said.startswith("nothing added: 2 of 4")
    assert [store.rows(f"select * from {t} order by all") for t in ("prompts", "drops")] == tables


def test_conversations_keep_their_turns_and_end_with_the_user(store: Store, jsonl: Jsonl) -> None:
    talk = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "and now?"},
    ]
    share = [{"from": "human", "value": "one"}, {"from": "gpt", "value": "two"}]
    path = jsonl(
        [
            {"messages": talk, "system": "be brief"},
            {"messages": json.dumps(talk[:1])},
            {"messages": share},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "parts"}]}]},
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            {"messages": [{"role": "wizard", "content": "?"}]},
            {"messages": "not a list"},
            {"messages": []},
        ]
    )
    report = add_prompts(store, path, pool="p", run_id="r")
    kept = {
        json.dumps(json.loads(r["messages"])) for r in store.rows("select messages from prompts")
    }
    system = {"content": "be brief", "role": "system"}
    turns = [{"content": t["content"], "role": t["role"]} for t in talk]
    assert json.dumps([system, *turns]) in kept
    assert report.added == 3
    assert dict(report.dropped) == {
        "last_message_not_user": 1, "not_text": 1, "unknown_role": 1, "not_messages": 1,
        "empty_prompt": 1,
    }  # fmt: skip


def test_columns_give_each_row_its_licence_domain_and_checker(store: Store, jsonl: Jsonl) -> None:
    rows = [
        {"q": "2+2?", "lic": "MIT", "topic": "math", "gold": 4, "args": {"b": 1, "a": [2]}},
        {"q": "why?", "lic": None, "topic": "", "gold": None, "args": None},
    ]
    how = resolve(["text=q", "license=lic", "domain=topic", "reference=gold", "constraints=args",
                   "lang:=en"])  # fmt: skip
    add_prompts(store, jsonl(rows), pool="p", run_id="r", mapping=how, license="CC0-1.0",
                domain="other")  # fmt: skip
    found = store.rows(
        "select license, domain, lang, reference, constraints, source, source_id from prompts "
        "order by source_id"
    )
    assert found == [
        {"license": "MIT", "domain": "math", "lang": "en", "reference": "4",
         "constraints": '{"a":[2],"b":1}', "source": "rows", "source_id": "row 1"},
        {"license": "CC0-1.0", "domain": "other", "lang": "en", "reference": None,
         "constraints": None, "source": "rows", "source_id": "row 2"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said", "command"),
    [
        (["text=instuction"], "nearest is 'instruction'", "--map text=instruction"),
        (["txt=instruction"], "did you mean 'text'", "--map text=COLUMN"),
        (["alpaca_eval_promts"], "did you mean 'alpaca_eval_prompts'", "ls storage/imports/"),
    ],
)
def test_a_mapping_that_does_not_fit_names_the_nearest(
    store: Store, jsonl: Jsonl, words: list[str], said: str, command: str
) -> None:
    path = jsonl([{"instruction": "a"}])
    with pytest.raises(UserError, match=said) as raised:
        add_prompts(store, path, pool="p", run_id="r", mapping=resolve(words))
    assert command in raised.value.next
    assert store.rows("select count(*) as n from prompts") == [{"n": 0}]


def test_a_dry_run_counts_and_writes_nothing(store: Store, jsonl: Jsonl, tmp_path: Path) -> None:
    path = jsonl([{"prompt": "a"}, {"prompt": ""}])
    rejects = tmp_path / "rejects.jsonl"
    report = add_prompts(store, path, pool="p", run_id="r", dry_run=True, reject_file=rejects)
    assert (report.added, dict(report.dropped)) == (1, {"empty_prompt": 1})
    assert store.rows("select count(*) as n from prompts union all select count(*) from drops") == [
        {"n": 0}, {"n": 0},
    ]  # fmt: skip
    line = json.loads(rejects.read_text())
    assert line == {
        "reason": "empty_prompt",
        "file": "rows.jsonl",
        "row": 2,
        "pool": "p",
        "values": {"prompt": ""},
    }


_KILLED = """
import os, signal, sys
from pathlib import Path
from factory.prompting import reading
from factory.prompting.ingest import add_prompts
from factory.store import Store, open_store

commits, append = int(sys.argv[3]), Store.append

def dying(self, *args, **kwargs):
    global commits
    if commits == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    commits -= 1
    return append(self, *args, **kwargs)

Store.append = dying
add_prompts(open_store(Path(sys.argv[1])), sys.argv[2], pool="p", run_id="r", batch_rows=1000)
"""


@pytest.mark.parametrize("commits", [0, 1, 2, 3])
def test_kill_9_and_the_same_command_give_the_tables_of_an_uninterrupted_one(
    tmp_path: Path, jsonl: Jsonl, commits: int
) -> None:
    path = jsonl({"prompt": f"say {n % 1_900}"} for n in range(2_500))
    whole = open_store(tmp_path / "whole", create=True)
    add_prompts(whole, path, pool="p", run_id="r", batch_rows=1000)
    broken = open_store(tmp_path / "broken", create=True)
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path / "broken"), str(path), str(commits)],
        check=False,
    )
    assert killed.returncode == -9
    add_prompts(broken, path, pool="p", run_id="r", batch_rows=1000)
    for table in ("prompts", "drops"):
        sql = f"select * exclude (created_at) from {table} order by all"
        assert broken.query(sql).equals(whole.query(sql))


def test_gsm8k_and_alpaca_eval_prompts_go_in_whole(store: Store, shared_data: Path) -> None:
    gsm = add_prompts(
        store, shared_data / "gsm8k_test.jsonl.gz", pool="gsm8k", run_id="r", mapping=load("gsm8k")
    )
    alpaca = add_prompts(
        store, shared_data / "alpaca_eval_prompts.parquet", pool="alpaca_eval", run_id="r",
        mapping=load("alpaca_eval_prompts"),
    )  # fmt: skip
    assert (gsm.added, alpaca.added) == (1319, 805)
    found = store.rows("select reference from prompts where source_id = 'gsm8k-test-0'")
    assert found == [{"reference": "18"}]


def test_a_pool_of_real_prompts_is_added_by_the_common_names(
    store: Store, shared_data: Path
) -> None:
    report = add_prompts(store, shared_data / "prompt_pool.parquet", pool="pool", run_id="r")
    assert report.added + report.dropped.total() == report.read == 9135
    assert set(report.dropped) == {"duplicate"}
    assert store.rows("select count(distinct source) as n from prompts") == [{"n": 17}]


@pytest.mark.parametrize(
    "more",
    [{"tool_calls": [{"function": {"name": "f"}}]}, {"function_call": {}}, {"images": ["a"]}],
)
def test_a_turn_that_says_more_than_its_text_is_refused(
    store: Store, jsonl: Jsonl, more: dict[str, object]
) -> None:
    asked = {"role": "user", "content": "and Rome?"}
    path = jsonl([{"messages": [asked, {"role": "assistant", "content": None, **more}, asked]}])
    report = add_prompts(store, path, pool="p", run_id="r")
    expected = {"not_text": 1} if any(more.values()) else {}
    assert (dict(report.dropped), report.added) == (expected, 0 if expected else 1)


def test_rows_named_by_their_number_in_an_older_workspace_are_there(
    store: Store, jsonl: Jsonl
) -> None:
    path = jsonl([{"prompt": "one"}, {"prompt": "two"}])
    add_prompts(store, path, pool="p", run_id="r", mapping=load(pairs=["text=prompt"]))
    held = store.rows("select * from prompts")
    old = open_store(store.workspace.parent / "old", create=True)
    rows = [{**r, "source_id": r["source_id"].removeprefix("row ")} for r in held]
    old.append("prompts", [{k: v for k, v in r.items() if k != "run_id"} for r in rows], run_id="r")
    again = add_prompts(old, path, pool="p", run_id="r")
    assert (again.present, dict(again.dropped)) == (2, {})


def test_a_system_column_that_the_messages_contradict_is_refused(
    store: Store, jsonl: Jsonl
) -> None:
    talk = [{"role": "system", "content": "A"}, {"role": "user", "content": "b"}]
    path = jsonl([{"messages": talk, "system": "A"}, {"messages": talk, "system": "C"}])
    report = add_prompts(store, path, pool="p", run_id="r")
    assert (report.added, dict(report.dropped)) == (1, {"not_messages": 1})
