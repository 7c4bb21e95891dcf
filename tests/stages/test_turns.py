"""A model answers the second turn of a conversation after its own first answer."""

from __future__ import annotations

import json

from factory import stages
from factory.prompting.draw import draw_prompts
from factory.prompting.ingest import add_prompts
from factory.prompting.mapping import resolve
from factory.store import Store
from tests.stages.conftest import Play, sample

ROWS = [
    {"turns": [f"say apple {i}", "now say bread", "and again"], "question_id": i, "category": "say"}
    for i in range(12)
] + [{"turns": [f"only one turn {i}"], "question_id": 100 + i} for i in range(12)]


def begun_with_turns(begun: Play, **sampling: object) -> stages.Run:
    run = begun(rows=[{"prompt": f"no conversation {i}"} for i in range(20)], **sampling)
    pool = run.store.workspace.parent / "turns.jsonl"
    pool.write_text("\n".join(json.dumps(row) for row in ROWS))
    report = add_prompts(
        run.store, pool, pool="words", run_id=run.run_id, gate=0.0, dev=0.0,
        mapping=resolve(["mt_bench"]),
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


def test_without_turns_in_the_recipe_only_the_first_is_asked(begun: Play, store: Store):
    run = begun_with_turns(begun, n=2)
    assert list(stages.waves_of(run)) == [0]
