"""A model answers the second turn of a conversation after its own first answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factory import stages
from factory.errors import UserError
from factory.gating import unit_of
from factory.prompting.draw import draw_prompts
from factory.prompting.ingest import add_prompts
from factory.prompting.mapping import resolve
from factory.stages import alone
from factory.stages.conversations import held_out_units
from factory.store import Store
from tests.stages.conftest import Play, sample

ROWS = [
    {
        "turns": [f"say apple {i}", "now say bread", "and again"],
        "question_id": i,
        "category": "say",
        "reference": "#### 4",
    }
    for i in range(12)
] + [{"turns": [f"only one turn {i}"], "question_id": 100 + i} for i in range(12)]


def begun_with_turns(begun: Play, *, gate: float = 0.0, **sampling: object) -> stages.Run:
    run = begun(rows=[{"prompt": f"no conversation {i}"} for i in range(20)], **sampling)
    pool = run.store.workspace.parent / "turns.jsonl"
    pool.write_text("\n".join(json.dumps(row) for row in ROWS))
    report = add_prompts(
        run.store, pool, pool="words", run_id=run.run_id, gate=gate, dev=0.0,
        mapping=resolve(["mt_bench", "reference=reference"]),
    )  # fmt: skip
    assert report.added == len(ROWS)
    return run


def test_each_turn_is_answered_after_the_models_own_answer(begun: Play, store: Store):
    run = begun_with_turns(begun, turns=3, n=8, max_tokens=80)
    stages.draw(run, 1)
    sample(run)
    stages.judge(run, 1)
    first = store.rows(
        "select count(distinct prompt_id) as n from prompts semi join draws using (prompt_id) "
        "where next_turns is not null"
    )[0]["n"]
    assert first > 1
    assert stages.ask_more(run, 1, 1) == {"asked": first, "conversations": first}
    assert sample(run, 1) == 8 * first
    stages.judge(run, 1, 1)
    assert stages.ask_more(run, 1, 2)["conversations"] == first
    assert sample(run, 2) == 8 * first
    rows = store.rows(
        "select p.messages, p.split, p.pool, p.source_id, c.text as said, q.messages as before, "
        "p.next_turns from prompts p "
        "join completions c on c.completion_id = p.parent_completion_id "
        "join prompts q on q.prompt_id = c.prompt_id"
    )
    assert len(rows) == 2 * first
    for row in rows:
        messages, before = json.loads(row["messages"]), json.loads(row["before"])
        assert messages[: len(before)] == before
        assert messages[len(before)] == {"role": "assistant", "content": row["said"]}
        assert messages[-1]["content"] == ("and again" if len(messages) == 5 else "now say bread")
        assert (row["split"], row["pool"]) == ("train", "words")
        assert (row["next_turns"] is None) == (len(messages) == 5)
    # What was given to the model is the whole conversation.
    longest = store.rows(
        "select max(len(prompt_token_ids)) as n, min(len(prompt_token_ids)) as least "
        "from completions"
    )[0]
    assert longest["n"] > longest["least"]


def test_a_wave_that_was_cut_off_goes_on_from_the_same_answers(begun: Play, store: Store):
    run = begun_with_turns(begun, turns=2, n=2, max_tokens=80)
    stages.draw(run, 1)
    sample(run)
    asked = stages.ask_more(run, 1, 1)
    with store.ledger.transaction() as con:
        con.exec_driver_sql("delete from steps where stage = 'ask-1'")
    assert stages.ask_more(run, 1, 1) == asked
    made = store.rows("select count(*) as n from prompts where parent_completion_id is not null")
    assert made == [{"n": asked["asked"]}]


def test_an_answer_that_was_cut_is_not_gone_on_from(begun: Play, store: Store):
    run = begun_with_turns(begun, turns=2, n=2, max_tokens=1)
    stages.draw(run, 1)
    sample(run)
    stages.ask_more(run, 1, 1)
    dropped = store.rows(
        "select reason, count(*) as n from drops where stage = 'converse' group by 1"
    )
    cut = store.rows(
        "select count(distinct prompt_id) as n from completions join prompts p using (prompt_id) "
        "where p.next_turns is not null and p.parent_completion_id is null"
    )[0]["n"]
    made = store.rows("select count(*) as n from prompts where parent_completion_id is not null")
    assert sum(d["n"] for d in dropped) == cut - made[0]["n"]
    assert {d["reason"] for d in dropped} <= {"no_answer_to_go_on_from"}


def test_a_conversation_is_never_drawn_as_a_fresh_prompt(begun: Play, store: Store):
    run = begun_with_turns(begun, turns=2, n=2, max_tokens=80)
    stages.draw(run, 1)
    sample(run)
    stages.ask_more(run, 1, 1)
    drawn = draw_prompts(
        store, run_id=run.run_id, round=2, n=10_000, purpose="train", pools={"words": 1.0}, seed=3
    )
    children = {
        row["prompt_id"]
        for row in store.rows(
            "select prompt_id from prompts where parent_completion_id is not null"
        )
    }
    assert children
    assert not children & set(drawn.prompt_ids)


_GATE = """
select d.model_id, d.purpose, coalesce(d.wave, 0) as turn, p.split, p.prompt_id, p.messages,
  c.text as said, c.model_id as by, count(distinct a.completion_id) as n
from draws d
join prompts p using (prompt_id)
left join completions c on c.completion_id = p.parent_completion_id
left join completions a on a.prompt_id = p.prompt_id and a.model_id = d.model_id
where d.purpose in ('gate', 'candidate')
group by all
"""


def test_held_out_conversations_are_answered_turn_by_turn_by_both_and_compared(
    begun: Play, store: Store, roster: list[Path]
):
    run = begun_with_turns(begun, gate=1.0, turns=3, n=2, max_tokens=80)
    found = alone.gate(store, recipe=run.recipe, candidate=str(roster[1]), progress=run.progress)
    assert found["candidate"]
    rows = store.rows(_GATE)
    first = {row["prompt_id"] for row in rows if row["turn"] == 0}
    assert len(first) == 4
    assert {(row["purpose"], row["turn"]) for row in rows} == {
        (purpose, turn) for purpose in ("gate", "candidate") for turn in range(3)
    }
    for row in rows:
        assert (row["split"], row["n"]) == ("gate", 2)
        if row["turn"]:
            assert json.loads(row["messages"])[-2]["content"] == row["said"]
    assert len({(r["prompt_id"], r["purpose"]) for r in rows if r["turn"]}) == sum(
        r["turn"] > 0 for r in rows
    )
    [gate] = store.rows("from gates")
    assert gate["n_prompts"] == 4
    assert gate["n_samples"] == 2 * sum(row["purpose"] == "candidate" for row in rows)
    verdicts = store.rows("from gate_verdicts")
    assert {row["prompt_id"] for row in verdicts} == first
    again = store.rows("select count(*) as n from completions")
    assert alone.gate(store, recipe=run.recipe, candidate=str(roster[1]), progress=run.progress)
    assert store.rows("select count(*) as n from completions") == again


def test_the_champion_of_a_round_is_measured_on_every_turn(begun: Play, store: Store):
    run = begun_with_turns(begun, gate=1.0, turns=2, n=2, max_tokens=80)
    stages.draw(run, 1)
    sample(run)
    stages.judge(run, 1)
    stages.start_from(run, 1)
    [gate] = store.rows("from gates")
    asked = store.rows("select count(distinct prompt_id) as n from draws where purpose = 'gate'")
    assert gate["n_prompts"] == 4
    assert gate["n_samples"] == 2 * asked[0]["n"] > 8


def test_a_model_without_a_finished_answer_loses_the_turns_that_it_was_not_asked(
    begun: Play, store: Store
):
    run = begun_with_turns(begun, gate=1.0, turns=3, n=2, max_tokens=1)
    stages.draw(run, 1)
    sample(run)
    policy = run.left(1, "draw")["policy"]
    units, unreached = held_out_units(run, 1, purpose="gate", model_id=policy)
    drawn = store.rows(
        "select p.prompt_id, p.next_turns is not null as goes_on from draws d "
        "join prompts p using (prompt_id) where d.purpose = 'gate' and coalesce(d.wave, 0) = 0"
    )
    begun_ = {row["prompt_id"] for row in drawn if row["goes_on"]}
    assert begun_
    for prompt_id in begun_:
        assert (unit_of(prompt_id, 1) in unreached) != (unit_of(prompt_id, 1) in units.values())
        assert (unit_of(prompt_id, 2) in unreached) != (unit_of(prompt_id, 2) in units.values())
    assert not {unit_of(row["prompt_id"], 1) for row in drawn if not row["goes_on"]} & unreached


def test_a_judge_that_cannot_judge_conversations_is_refused(begun: Play, store: Store):
    (store.workspace / "judges" / "vowels.md").write_text(
        "---\nkind: verifier\ndescription: Whether the number is right.\nverifier: gsm8k\n---\n"
    )
    run = begun_with_turns(begun, gate=1.0, turns=2, n=2, max_tokens=80)
    stages.draw(run, 1)
    sample(run)
    stages.judge(run, 1)
    with pytest.raises(UserError, match="it cannot judge conversations"):
        stages.start_from(run, 1)


def test_without_turns_in_the_recipe_only_the_first_is_asked(begun: Play, store: Store):
    run = begun_with_turns(begun, n=2)
    assert list(stages.waves_of(run)) == [0]
