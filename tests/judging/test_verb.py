"""What `judge` promises: every completion judged once, nothing paid twice, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.errors import BudgetExhausted, RecipeError, Stopped, UserError
from factory.judging.verb import judge
from factory.recipe.model import Judging
from factory.store import Store

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]

QUESTIONS = [
    (f"What is {i} plus {i}?", [f"It is {2 * i}.", f"Perhaps {2 * i + 1}."]) for i in range(20)
]


def _rows(store: Store) -> list[dict[str, Any]]:
    return store.rows("select * from judgements order by judgement_id")


def _texts(body: dict[str, Any]) -> list[str]:
    """The answers in a request, in the order shown."""
    said = body["messages"][-1]["content"]
    return re.findall(r"<<<ANSWER[ AB]* ([0-9a-f]{12})>>>\n(.*?)\n<<<END", said, re.DOTALL)


def test_every_aspect_of_every_completion_is_one_call_and_one_row(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    ids = fill(store, QUESTIONS)
    section = judging(server.url)
    report = judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    rows = _rows(store)
    assert report.made == len(rows) == len(server.bodies) == 40 * 4
    assert {r["status"] for r in rows} == {"ok"}
    assert {r["score"] for r in rows} == {4.0}
    assert {r["rationale"] for r in rows} == {"fine."}
    assert {r["model_reported"] for r in rows} == {"the-judge-0001"}
    spent = store.rows("select sum(cost_microusd) as c from calls")[0]["c"]
    assert sum(r["cost_microusd"] for r in rows) == spent > 0
    scores = store.rows("select * from scores")
    assert len(scores) == 40
    assert {s["score"] for s in scores} == {4.0}


def test_judging_again_calls_nobody_and_adds_nothing(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    ids = fill(store, QUESTIONS)
    section = judging(server.url)
    for _ in range(2):
        report = judge(
            store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r"
        )
    assert report.made == 0
    assert report.judges[0].present == 160
    assert len(server.bodies) == 160


def test_a_judge_that_always_prefers_good_says_good_in_both_orders(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    def brain(body: dict[str, Any]) -> str:
        first, second = (text for _, text in _texts(body))
        return "[[A]]" if "GOOD" in first else "[[B]]" if "GOOD" in second else "[[C]]"

    server.brain = brain
    asked = [(f"question {i}", ["a BAD one", "a GOOD one", f"poor {i}"]) for i in range(30)]
    ids = fill(store, asked)
    section = judging(server.url, comparisons=3)
    judge(store, judges=["pairwise"], completion_ids=ids, judging=section, run_id="r")
    verdicts = store.rows(
        """
        select j.completion_ids, j.winner_id, j.p_first, w.text as winner, f.text as first
        from judgements j
        left join completions w on w.completion_id = j.winner_id
        join completions f on f.completion_id = j.completion_ids[1]
        """
    )
    assert len(verdicts) == 30 * 3 * 2
    texts = {r["completion_id"]: r["text"] for r in store.rows("select * from completions")}
    with_good = [v for v in verdicts if any("GOOD" in texts[i] for i in v["completion_ids"])]
    assert len(with_good) == 30 * 2 * 2
    assert {v["winner"] for v in with_good} == {"a GOOD one"}
    assert sum("GOOD" in v["first"] for v in with_good) == len(with_good) // 2
    assert all(v["p_first"] == float("GOOD" in v["first"]) for v in with_good)
    ties = [v for v in verdicts if v not in with_good]
    assert {(v["winner"], v["p_first"]) for v in ties} == {(None, 0.5)}
    best = store.rows(
        "select score from scores join completions using (completion_id) where text like '%GOOD%'"
    )
    assert {b["score"] for b in best} == {1.0}


def test_a_vote_never_sees_a_models_name(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    server.brain = lambda body: "[[C]]"
    ids = fill(store, QUESTIONS[:3])
    section = judging(server.url)
    judge(store, judges=["pairwise"], completion_ids=ids, judging=section, run_id="r")
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    sent = json.dumps(server.bodies)
    assert "secret-model" not in sent
    assert not any(i in sent for i in ids)


def test_texts_that_are_equal_are_one_call_and_never_compared(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    ids = fill(store, [("What is two?", ["Two.", "Two.", "Two."])])
    section = judging(server.url)
    report = judge(
        store, judges=["ultrafeedback", "pairwise"], completion_ids=ids, judging=section, run_id="r"
    )
    rows = _rows(store)
    assert [r.planned for r in report.judges] == [12, 0]
    assert len(rows) == 12
    assert len(server.bodies) == 4
    spent = store.rows("select sum(cost_microusd) as c from calls")[0]["c"]
    assert sum(r["cost_microusd"] for r in rows) == spent


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("prose", "unparsed", "no_verdict"),
        ("empty", "unparsed", "empty_reply"),
        ("null_content", "unparsed", "empty_reply"),
        ("length", "truncated", "token_limit"),
        ("filter", "refused", "refused_by_endpoint"),
        ("400", "error", "http_400"),
        ("500", "error", "http_500"),
        ("half", "error", "not_json"),
        ("html", "error", "html"),
        ("200_error", "error", "error_in_200"),
        ("no_choice", "error", "no_choice"),
        ("two_choices", "error", "several_choices"),
        ("list", "error", "not_a_completion"),
        ("wrong_pair", "error", "other_call"),
        ("close", "error", "connection_lost"),
        ("drip", "error", "timeout"),
        ("surrogate", "ok", None),
        ("nan_usage", "ok", None),
    ],
)
def test_whatever_an_endpoint_answers_ends_as_a_typed_row(
    store: Store, fill: Fill, judging: Section, server: Any, fault: str, status: str, reason: str
) -> None:
    bad = "What is 3 plus 3?"
    server.fault = lambda key, tries: fault if key in wrong else None
    wrong: set[str] = set()
    brain = server.brain
    ids = fill(store, QUESTIONS[:6])

    async def handle(request: Any, answer: Any = server._answer) -> Any:
        if bad in (await request.read()).decode():
            wrong.add(request.headers["Idempotency-Key"])
        return await answer(request)

    server._answer = handle
    server.brain = brain
    section = judging(server.url, timeout_s=0.5 if fault == "drip" else 20.0, max_attempts=2)
    judge(store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r")
    rows = store.rows("select j.*, p.messages from judgements j join prompts p using (prompt_id)")
    assert len(rows) == 12
    hit = [r for r in rows if bad in r["messages"]]
    if status == "ok":
        assert {r["raw"] for r in hit} <= {"Rating: 4", "Rating: 4 ?\N{REPLACEMENT CHARACTER}"}
        return
    assert {(r["status"], r["rationale"], r["score"]) for r in hit} == {(status, reason, None)}
    # The default brain speaks another judge's language: the others are unparsed, not errors.
    assert {r["status"] for r in rows if bad not in r["messages"]} == {"unparsed"}


def test_faults_that_pass_leave_no_wrong_or_missing_row(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    kinds = ["500", "503", "close", "half", "no_choice", "html"]

    def fault(key: str, tries: int) -> str | None:
        pick = int(key[:4], 16)
        return kinds[pick % 6] if tries == 0 and pick % 10 < 3 else None

    def brain(body: dict[str, Any]) -> str:
        (_, text), *_ = _texts(body)
        return f"[[{len(text) % 10 + 1}]]"

    server.fault, server.brain = fault, brain
    asked = [(f"question {i}", ["x" * (i % 40), "y" * (i % 31)]) for i in range(150)]
    ids = fill(store, asked)
    section = judging(server.url, shard=70)
    judge(store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r")
    rows = store.rows(
        "select j.*, c.text from judgements j join completions c using (completion_id)"
    )
    assert len(rows) == 300
    assert {r["status"] for r in rows} == {"ok"}
    assert all(r["score"] == len(r["text"]) % 10 + 1 for r in rows)
    assert server.faults.total() > 20
    open_calls = store.rows("select * from calls where state <> 'done'")
    assert open_calls == []


KINDS = (
    "429", "500", "half", "no_choice", "html", "two_choices", "wrong_pair", "200_error", "drip",
    "close",
)  # fmt: skip


@pytest.mark.slow
def test_2000_calls_of_which_30_percent_fail_leave_no_wrong_or_missing_row(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    def fault(key: str, tries: int) -> str | None:
        lot = hashlib.blake2b(f"{key}/{tries}".encode()).digest()
        return KINDS[lot[1] % len(KINDS)] if lot[0] < 0.3 * 256 else None

    def brain(body: dict[str, Any]) -> str:
        (_, text), *_ = _texts(body)
        return f"[[{zlib.crc32(text.encode()) % 10 + 1}]]"

    server.fault, server.brain = fault, brain
    ids = fill(store, [(f"question {i}", [f"answer {i}", f"another {i}"]) for i in range(1000)])
    section = judging(server.url, timeout_s=1.0, shard=500)
    for retry in ([], ["error"]):
        judge(
            store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r",
            retry=retry,
        )  # fmt: skip
        rows = store.rows(
            "select j.*, c.text from judgements j join completions c using (completion_id) "
            "where j.judge = 'mt-bench-single'"
        )
        good = [r for r in rows if r["status"] == "ok"]
        assert len({r["completion_id"] for r in rows}) == 2000
        assert all(r["score"] == zlib.crc32(r["text"].encode()) % 10 + 1 for r in good)
        failed = [r for r in rows if r["status"] != "ok"]
        assert {r["status"] for r in failed} <= {"error"}
        assert all(r["score"] is None and r["rationale"] for r in failed)
    assert set(server.faults) == set(KINDS)
    assert server.faults.total() > 600
    assert len(good) > 1990
    assert store.rows("select * from calls where state not in ('done', 'failed')") == []


def test_retry_after_is_honoured_and_every_try_is_in_the_ledger(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    server.fault = lambda key, tries: "429" if tries == 0 else None
    ids = fill(store, QUESTIONS[:2])
    section = judging(server.url)
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert {r["status"] for r in _rows(store)} == {"ok"}
    calls = store.rows("select attempts, state from calls")
    assert {(c["attempts"], c["state"]) for c in calls} == {(2, "done")}
    assert len(store.rows("select * from attempts where outcome = 'http_429'")) == 16


def test_the_budget_is_a_hard_stop_and_a_bigger_one_goes_on_from_there(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    ids = fill(store, QUESTIONS)
    small = judging(server.url, budget_usd=0.05)
    with pytest.raises(BudgetExhausted) as stopped:
        judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=small, run_id="r")
    assert stopped.value.exit_code == 75
    budget = store.ledger.budget("r")
    assert budget is not None
    assert budget["spent_microusd"] <= 50_000
    assert budget["reserved_microusd"] == 0
    done = len(_rows(store))
    assert 0 < done < 160
    assert done == len(server.bodies)
    big = judging(server.url, budget_usd=5.0)
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=big, run_id="r")
    assert len(_rows(store)) == 160
    assert len(server.bodies) == 160


def test_an_unreachable_endpoint_stops_the_run_naming_url_and_field(
    store: Store, fill: Fill, judging: Section
) -> None:
    ids = fill(store, QUESTIONS[:2])
    section = judging("http://127.0.0.1:1/v1")
    with pytest.raises(Stopped) as stopped:
        judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert "judging.endpoints.main.base_url http://127.0.0.1:1/v1" in stopped.value.message
    assert _rows(store) == []
    assert store.rows("select * from calls where state = 'sent'") == []


@pytest.mark.parametrize(("fault", "words"), [("401", "refused"), ("404", "does not know")])
def test_a_wrong_key_or_model_stops_the_run_at_once(
    store: Store, fill: Fill, judging: Section, server: Any, fault: str, words: str
) -> None:
    server.fault = lambda key, tries: fault
    ids = fill(store, QUESTIONS)
    with pytest.raises(UserError, match=words):
        judge(
            store,
            judges=["ultrafeedback"],
            completion_ids=ids,
            judging=judging(server.url),
            run_id="r",
        )
    assert len(server.bodies) <= 16


def test_a_judge_that_fails_its_own_thresholds_is_stopped(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    server.brain = lambda body: "I like it."
    ids = fill(store, QUESTIONS)
    section = judging(server.url, shard=40)
    with pytest.raises(Stopped, match=r"judge ultrafeedback: .* are unparsed"):
        judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert 100 <= len(server.bodies) <= 160


def test_secrets_are_sent_and_never_kept(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    ids = fill(store, QUESTIONS[:1])
    section = judging(server.url, api_key_env="JUDGE_KEY")
    log = store.workspace / "runs" / "judge.log"
    judge(store, judges=["pairwise"], completion_ids=ids, judging=section, run_id="r", log=log)
    assert {h["Authorization"] for h in server.headers} == {"Bearer sk-very-secret"}
    kept = b"".join(p.read_bytes() for p in store.workspace.rglob("*") if p.is_file())
    assert b"very-secret" not in kept
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(UserError, match="JUDGE_KEY is not set"):
        judge(store, judges=["pairwise"], completion_ids=ids, judging=section, run_id="r")


def test_a_model_judge_without_an_endpoint_is_a_clear_error(store: Store, fill: Fill) -> None:
    ids = fill(store, QUESTIONS[:1])
    section = Judging(judges=("ultrafeedback",))
    with pytest.raises(RecipeError, match=r"judging\.endpoints names none"):
        judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")


def test_verifiers_score_and_one_bad_prompt_does_not_stop_the_rest(
    store: Store, fill: Fill
) -> None:
    ids = fill(store, [("2+2?", ["A: 4", "A: 5", "four"])], reference="#### 4")
    ids += fill(store, [("unknown?", ["A: 4"])])
    section = Judging(judges=("gsm8k",))
    judge(store, judges=["gsm8k"], completion_ids=ids, judging=section, run_id="r")
    rows = store.rows(
        "select text, status, score, rationale from judgements "
        "join completions using (completion_id) order by text, status"
    )
    assert [(r["text"], r["status"], r["score"], r["rationale"]) for r in rows] == [
        ("A: 4", "error", None, "prompt_has_no_reference"),
        ("A: 4", "ok", 1.0, None),
        ("A: 5", "ok", 0.0, None),
        ("four", "ok", 0.0, "no_answer"),
    ]


_CHILD = """
import signal
import sys
from pathlib import Path
# A shell's background job has it ignored, and a child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from factory.judging.verb import judge
from factory.recipe import Endpoint, Price
from factory.recipe.model import Judging
from factory.store import open_store
store = open_store(Path(sys.argv[1]))
endpoint = Endpoint(base_url=sys.argv[2], model="the-judge", price=Price(input=1.0, output=2.0))
section = Judging(judges=("ultrafeedback",), endpoints={"main": endpoint}, shard=1000)
ids = [r["completion_id"] for r in store.rows("select completion_id from completions")]
judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
"""


def test_law_9_a_killed_run_loses_no_answer_and_pays_none_twice(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    ids = fill(store, QUESTIONS)
    brain, killed = server.brain, []

    def deadly(body: dict[str, Any]) -> str:
        # The 60th answer kills the asker: some answers are stored, some are on their way.
        if len(server.billed) == 60 and not killed:
            killed.append(True)
            os.kill(child.pid, signal.SIGKILL)
        return brain(body)

    server.brain = deadly
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(store.workspace), server.url],
        cwd=Path(__file__).parents[2],
    )
    assert child.wait() == -signal.SIGKILL
    assert _rows(store) == []
    stored = store.rows("select * from calls where state = 'done'")
    doubtful = store.rows("select * from calls where state = 'sent'")
    assert stored
    section = judging(server.url)
    report = judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert report.judges[0].recovered == len(stored)
    rows = _rows(store)
    assert len(rows) == len({r["judgement_id"] for r in rows}) == 160
    assert {r["status"] for r in rows} == {"ok"}
    # What was stored was not asked again; what was in flight was, under the same key.
    assert all(server.tries[c["call_id"]] == 1 for c in stored)
    assert len(server.billed) == 160
    assert {c["state"] for c in store.rows("select state from calls")} == {"done"}
    again = store.rows("select call_id from calls where attempts > 1")
    assert {c["call_id"] for c in again} == {c["call_id"] for c in doubtful}


def test_calls_in_doubt_are_held_where_the_recipe_says_so(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    from factory.judging.client.calls import call_of
    from factory.store import CallIntent, Ledger

    ids = fill(store, QUESTIONS[:1])
    section = judging(server.url, in_doubt="hold")
    judge(store, judges=["mt-bench-single"], completion_ids=ids[:1], judging=section, run_id="r")
    call = call_of(server.bodies[0])
    assert list(server.billed) == [call.call_id]
    other = call_of(server.bodies[0], replicate=1)
    dead = Ledger(store.ledger.url, owner=f"{os.uname().nodename}/999999999/1.00")
    intent = CallIntent(
        call_id=other.call_id, kind="chat", endpoint=server.url, model="the-judge",
        request_hash=other.call_id,
    )  # fmt: skip
    assert dead.reserve_and_send([intent]) == {other.call_id}
    report = judge(
        store,
        judges=["mt-bench-single"],
        completion_ids=ids[:1],
        judging=section,
        run_id="r",
        replicates=2,
    )
    assert report.judges[0].held == 1
    assert len(_rows(store)) == 1
    assert store.ledger.calls([other.call_id])[other.call_id].state == "held"


def test_a_mended_parser_reads_old_answers_again_for_free(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from factory.judging import parse
    from factory.judging.outcomes import good
    from factory.judging.reparse import reparse
    from factory.judging.verb import source_for

    server.brain = lambda body: "Grade four of five"
    ids = fill(store, QUESTIONS[:5])
    (store.workspace / "judges").mkdir()
    text = (Path(__file__).parents[2] / "judges" / "ultrafeedback.md").read_text()
    mine = store.workspace / "judges" / "ultrafeedback.md"
    mine.write_text(text.replace("unparsed: 0.2", "unparsed: 1.0"))
    section = judging(server.url)
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert {r["status"] for r in _rows(store)} == {"unparsed"}
    asked = len(server.bodies)

    def mended(reply: Any, ask: Any) -> Any:
        return replace(good(4.0), rationale=None) if "four" in reply.text else good(1.0)

    monkeypatch.setitem(parse.PARSERS, "rating", ("mended", mended))
    source = source_for(store, "ultrafeedback", section)
    assert reparse(store, source, run_id="again") == {"ok": 40}
    assert reparse(store, source, run_id="again") == {}
    rows = store.rows("select * from judgements where parser = 'rating/mended'")
    assert {(r["score"], r["cost_microusd"], r["raw"]) for r in rows} == {
        (4.0, 0, "Grade four of five")
    }
    assert {s["score"] for s in store.rows("select score from scores")} == {4.0}
    # Judging with the mended parser finds its rows there; where it does not, the ledger answers.
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert len(server.bodies) == asked
    assert len(_rows(store)) == 80


def test_a_preview_costs_nothing_and_bounds_the_bill(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    from factory.judging.preview import preview

    ids = fill(store, QUESTIONS)
    section = judging(server.url, judges=("ultrafeedback", "gsm8k"))
    names = ["ultrafeedback", "gsm8k"]
    seen, free = preview(store, judges=names, completion_ids=ids, judging=section)
    assert server.bodies == []
    assert (seen.planned, seen.missing, seen.calls) == (160, 160, 160)
    assert (free.missing, free.calls, free.most_microusd, free.first) == (40, 0, 0, [])
    assert [m["role"] for m in seen.first] == ["system", "user"]
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    spent = store.rows("select sum(cost_microusd) as c from calls")[0]["c"]
    assert 0 < seen.estimate_microusd <= seen.most_microusd
    assert spent <= seen.most_microusd
    again, _ = preview(store, judges=names, completion_ids=ids, judging=section)
    assert (again.missing, again.most_microusd) == (0, 0)


def test_failed_judgements_are_made_again_when_asked_for_and_only_then(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    ids = fill(store, QUESTIONS[:3])
    section = judging(server.url, max_attempts=1)
    server.fault = lambda key, tries: "500" if int(key[:2], 16) < 100 else None
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    bad = [r for r in _rows(store) if r["status"] == "error"]
    assert 0 < len(bad) < 24
    server.fault = lambda key, tries: None
    again = judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert again.made == 0
    for made in (len(bad), 0):
        report = judge(
            store,
            judges=["ultrafeedback"],
            completion_ids=ids,
            judging=section,
            run_id="r",
            retry=["error"],
        )
        assert report.made == made
    assert len(store.rows("select * from scores")) == 6


def test_an_interrupt_keeps_what_came_back_and_leaves_nothing_in_flight(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    ids = fill(store, QUESTIONS)
    brain, told = server.brain, []

    def interrupting(body: dict[str, Any]) -> str:
        if len(server.billed) == 50 and not told:
            told.append(True)
            child.send_signal(signal.SIGINT)
        return brain(body)

    server.brain = interrupting
    server.delay = 0.3
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(store.workspace), server.url],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )
    assert child.wait() != 0
    rows = _rows(store)
    calls = store.rows("select state, outcome, cost_microusd from calls")
    done = [c for c in calls if c["state"] == "done"]
    # What was about to leave is in the ledger, and was never sent.
    never = [(c["state"], c["outcome"], c["cost_microusd"]) for c in calls if c not in done]
    assert set(never) <= {("failed", "cancelled", 0)}
    assert 50 <= len(rows) < 160
    assert len(rows) == len(server.billed) == len(done)
    judge(
        store, judges=["ultrafeedback"], completion_ids=ids, judging=judging(server.url), run_id="r"
    )
    assert len(server.billed) == sum(server.tries.values()) == len(_rows(store)) == 160
