"""What the paid-call client keeps: limits per minute, several keys, one call for equal requests."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import Stopped
from factory.judging.asking import body_of
from factory.judging.client.calls import Client
from factory.judging.client.keys import Keys
from factory.judging.client.limits import Bucket, Limits
from factory.judging.client.replies import tokens_of
from factory.judging.verb import JudgeReport, blocks_of, judge, missing_tasks, source_for
from factory.recipe.model import Judging
from factory.store import Store

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]

QUESTIONS = [(f"What is {i}?", [f"It is {i}.", f"Perhaps {i}."]) for i in range(10)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.integers(1, 5000),
    st.lists(st.floats(0, 40, allow_nan=False), min_size=1, max_size=200),
)
def test_no_minute_holds_more_requests_than_its_limit(rpm: int, pauses: list[float]) -> None:
    clock = Clock()
    bucket = Bucket(rpm, clock=clock)
    minute: deque[float] = deque()
    left: list[float] = []
    for pause in pauses:
        clock.now += pause
        left += [clock.now + bucket.take(1) for _ in range(max(1, rpm // 20))]
    assert left == sorted(left)  # first come, first served
    for at in left:
        minute.append(at)
        while minute[0] <= at - 60 + 1e-6:
            minute.popleft()
        assert len(minute) <= rpm


def test_tokens_that_were_not_used_are_free_again() -> None:
    clock = Clock()
    limits = Limits(rpm=None, tpm=6000, clock=clock)
    assert limits.take(100) == 0
    assert limits.take(1000) == pytest.approx(1000 / 98.35, rel=0.01)
    limits.used(100, taken=1000)
    assert limits.take(1) == pytest.approx(101 / 98.35, rel=0.02)
    assert Limits(rpm=None, tpm=None, clock=clock).take(10**9) == 0


def test_keys_take_turns_and_a_crowded_one_rests() -> None:
    clock = Clock()
    keys = Keys(["a", "b", "c"], clock=clock)
    assert [keys.pick() for _ in range(4)] == [0, 1, 2, 0]
    assert keys.crowded(1, 30.0) is None
    assert [keys.pick() for _ in range(4)] == [2, 0, 2, 0]
    assert keys.crowded(0, None) is None
    assert keys.crowded(2, 10.0) == 5.0  # the first to wake is the one that rests the least
    assert keys.pick() == 0
    clock.now = 31
    assert {keys.pick() for _ in range(3)} == {0, 1, 2}
    assert keys.refused(0) and keys.refused(1) and not keys.refused(2)
    assert Keys(["sk-1", "sk-2"]).hidden("no sk-2, no sk-1") == "no ***, no ***"


def test_a_refused_key_rests_and_the_others_do_the_work(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_A", "sk-wrong")
    monkeypatch.setenv("KEY_B", "sk-right")
    answer = server._answer
    seen: Counter[str] = Counter()

    async def handle(request: Any) -> Any:
        key = request.headers["Authorization"]
        seen[key] += 1
        if "wrong" in key:
            return await server._fault("401", request, json.loads(await request.read()))
        return await answer(request)

    server._answer = handle
    ids = fill(store, QUESTIONS)
    section = judging(server.url, api_key_env=["KEY_A", "KEY_B"], max_attempts=1)
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert store.rows("select status, count(*) n from judgements group by 1") == [
        {"status": "ok", "n": 80}
    ]
    assert seen["Bearer sk-right"] == 80
    assert 1 <= seen["Bearer sk-wrong"] <= 16
    monkeypatch.setenv("KEY_B", "sk-wrong-too")
    with pytest.raises(Stopped, match="refused the key in KEY_A and KEY_B"):
        judge(store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r")


def test_a_crowded_key_hands_its_calls_to_another_at_once(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_A", "sk-full")
    monkeypatch.setenv("KEY_B", "sk-free")
    answer = server._answer
    seen: Counter[str] = Counter()

    async def handle(request: Any) -> Any:
        key = request.headers["Authorization"]
        seen[key] += 1
        if "full" in key:
            from aiohttp import web

            return web.Response(status=429, headers={"Retry-After": "300"}, text="{}")
        return await answer(request)

    server._answer = handle
    ids = fill(store, QUESTIONS)
    section = judging(server.url, api_key_env=["KEY_A", "KEY_B"])
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert len(store.rows("select * from judgements where status = 'ok'")) == 80
    assert seen["Bearer sk-free"] == 80
    assert seen["Bearer sk-full"] <= 16


def test_a_call_waits_for_the_limits_of_its_endpoint(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def turn(self: Client, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Client, "_turn", turn)
    ids = fill(store, QUESTIONS[:2])
    section = judging(server.url, rpm=6)
    judge(store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r")
    assert [round(wait / 10) for wait in waits] == [0, 1, 2, 3]
    waits.clear()
    section = judging(server.url, tpm=60)
    judge(store, judges=["ultrafeedback"], completion_ids=ids[:1], judging=section, run_id="r")
    used = [tokens_of(body) for body in server.bodies[-4:]]
    assert len(waits) == 4
    assert waits[-1] == pytest.approx(sum(used), rel=0.1)  # one token a second


def test_equal_requests_of_two_judges_and_many_shards_are_one_call(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    ids = fill(store, [("What is two?", ["Two."] * 7)])
    (store.workspace / "judges").mkdir()
    mine = Path(__file__).parents[2] / "judges" / "ultrafeedback.md"
    (store.workspace / "judges" / "twin.md").write_text(mine.read_text() + "\n")
    names = ["ultrafeedback", "twin"]
    section = judging(server.url, judges=names, shard=3)
    judge(store, judges=names, completion_ids=ids, judging=section, run_id="r")
    assert len(store.rows("select * from judgements where status = 'ok'")) == 7 * 4 * 2
    assert len(server.bodies) == 4
    spent = store.rows("select sum(cost_microusd) c from calls")[0]["c"]
    assert store.rows("select sum(cost_microusd) c from judgements")[0]["c"] == spent


def test_calls_that_share_a_beginning_are_neighbours(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    """A server's prefix cache keeps what came last: rubric, prompt, answer, aspect."""
    texts = [f"answer {i} {'because ' * 60}" for i in range(3)]
    ids = fill(store, [(f"{'Long ago ' * 50} {i}?", texts) for i in range(4)])
    section = judging(server.url)
    source = source_for(store, "ultrafeedback", section)
    report = JudgeReport(judge="ultrafeedback", judge_id=source.judge_id)
    tasks = missing_tasks(store, source, ids, section, seed=0, replicates=1, done=report)
    bodies = [
        body_of(block, task, source) for block in blocks_of(store, tasks) for task in block.tasks
    ]
    said = ["\x00".join(m["content"] for m in body["messages"]) for body in bodies]
    shared = [_shared(*pair) for pair in pairwise(said)]
    fixed = _shared(min(said), max(said))
    assert fixed > 400  # the rubric's fixed part leads every call
    within = [shared[i] for i in range(len(shared)) if (i + 1) % 4]
    assert min(within) > 1300  # four aspects of one answer share rubric, prompt and answer
    between = [shared[i] for i in range(len(shared)) if (i + 1) % 4 == 0 and (i + 1) % 12]
    assert min(between) > fixed + 400  # answers to one prompt share the prompt


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
