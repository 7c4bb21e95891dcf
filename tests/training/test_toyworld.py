"""The toy world: prompts, demonstrations and their verifier agree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.judging.verifiers.toyworld import check, verify
from factory.prompting.toyworld import KINDS, WORDS, all_tasks, demonstrate, make_tasks, record

tasks = st.sampled_from(all_tasks())


def test_there_are_thousands_of_distinct_prompts():
    made = make_tasks(2000, seed=0)
    assert len({task.prompt.prompt_id for task in made}) == 2000
    assert len(set(WORDS)) == len(WORDS)
    first = [task.kind for task in made[:1200]]
    assert [first.count(kind) for kind in KINDS] == [400, 400, 400]


def test_the_same_seed_makes_the_same_world_and_another_seed_another():
    assert make_tasks(50, seed=1) == make_tasks(50, seed=1)
    assert make_tasks(50, seed=1) != make_tasks(50, seed=2)
    first, again, other = (
        [d.text for d in demonstrate(make_tasks(50, seed=1), per_task=3, seed=s)] for s in (5, 5, 6)
    )
    assert first == again != other


def test_more_prompts_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="100000 were asked for"):
        make_tasks(100_000, seed=0)


@given(tasks)
def test_the_right_answer_obeys_and_the_prompt_alone_tells_the_verifier_so(task):
    prompt = {"constraints": task.prompt.constraints, "messages": task.prompt.messages}
    assert verify(prompt, task.answer) == 1.0
    assert verify(prompt, f" {task.answer}\n") == 1.0
    for wrong in ("", task.answer + " x", "ok: " + task.answer, task.answer.upper()):
        assert verify(prompt, wrong) == 0.0


@given(tasks, st.integers(0, 99))
def test_a_demonstration_breaks_the_instruction_exactly_when_it_says_so(task, seed):
    for shown in demonstrate([task], per_task=8, seed=seed):
        assert check(task.constraints, shown.text) == shown.obeys


def test_the_asked_share_of_demonstrations_breaks_the_instruction():
    tasks = make_tasks(500, seed=0)
    shown = list(demonstrate(tasks, per_task=4, seed=0, broken_share=0.5))
    assert sum(d.obeys for d in shown) / len(shown) == pytest.approx(0.5, abs=0.03)


def test_a_recorded_demonstration_is_json_with_its_constraints():
    shown = next(demonstrate(make_tasks(1, seed=0), per_task=1, seed=0))
    line = json.loads(json.dumps(record(shown)))
    assert json.loads(line["constraints"]) == shown.task.constraints
    assert line["messages"] == [{"role": "user", "content": shown.task.text}]


def test_a_prompt_without_toy_constraints_is_refused():
    for prompt in ({}, {"constraints": None}, {"constraints": '{"kind": "rhyme", "word": "ab"}'}):
        with pytest.raises(ValueError, match="toy world"):
            verify(prompt, "ab")
