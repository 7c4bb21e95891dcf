"""What the paid-call client keeps: limits per minute, several keys, one call for equal requests."""

from __future__ import annotations

import asyncio
import json
import random
import selectors
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import Stopped
from factory.judging.asking import body_of
from factory.judging.client.keys import Keys
from factory.judging.client.limits import Limits
from factory.judging.client.replies import tokens_of
from factory.judging.verb import JudgeReport, blocks_of, judge, missing_tasks, source_for
from factory.recipe.model import Judging
from factory.store import Ledger, Store, rates
from factory.store.rates import LATE_S, Bucket, take_together

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]

QUESTIONS = [(f"What is {i}?", [f"It is {i}.", f"Perhaps {i}."]) for i in range(10)]


class Clock:
    """A clock that nothing but a wait moves: what waits for so long is there at once."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class _Jumps(selectors.DefaultSelector):
    """Where nothing is ready, the time for which nothing would be is over at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and for nothing"
        self._clock.now += timeout
        return super().select(0)


def run_in(clock: Clock, work: Coroutine[Any, Any, None]) -> None:
    """Run coroutines, and nothing beside them, in the time of a clock."""

    def made() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(_Jumps(clock))
        loop.time = clock.time
        return loop

    async def inline(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return call(*args, **named)

    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=made) as runner:
        patch.setattr(rates, "time", clock)
        patch.setattr(asyncio, "to_thread", inline)
        runner.run(work)


def most_in_a_minute(left: list[float]) -> int:
    """How many of these moments lie in one minute at most."""
    return max(sum(at - 60 + 1e-6 < other <= at for other in left) for at in left)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rates, "time", clock)

    async def rest(self: Limits, seconds: float) -> None:
        clock.now += max(0.0, seconds)

    monkeypatch.setattr(Limits, "_rest", rest)
    return clock


@given(
    st.integers(1, 5000),
    st.lists(st.floats(0, 40, allow_nan=False), min_size=1, max_size=200),
    st.lists(st.floats(0, LATE_S), min_size=1, max_size=20),
)
def test_no_minute_holds_more_requests_than_its_limit(
    rpm: int, pauses: list[float], late: list[float]
) -> None:
    now, buckets = 0.0, {"requests": Bucket.full(rpm, at=0.0)}
    given: list[float] = []
    for pause in pauses:
        now += pause
        for _ in range(max(1, rpm // 20)):
            given.append(now + take_together(buckets, {"requests": 1}, now=now))
    assert given == sorted(given)  # first come, first served
    _no_minute_holds_more(given, rpm)
    _no_minute_holds_more([at + late[i % len(late)] for i, at in enumerate(given)], rpm)


def _no_minute_holds_more(left: list[float], rpm: int) -> None:
    minute: deque[float] = deque()
    for at in sorted(left):
        minute.append(at)
        while minute[0] <= at - 60 + 1e-6:
            minute.popleft()
        assert len(minute) <= rpm


@given(
    st.integers(1, 300),
    st.integers(60, 3000),
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 50), st.floats(0, 3)), min_size=1),
)
def test_a_minute_keeps_both_limits_when_calls_wait_for_either(
    rpm: int, tpm: int, asked: list[tuple[float, int, float]]
) -> None:
    now = 0.0
    buckets = {"requests": Bucket.full(rpm, at=0.0), "tokens": Bucket.full(tpm, at=0.0)}
    most = min(50, max(1, tpm // 120))  # what one call takes is within the burst
    left: list[tuple[float, int]] = []
    for pause, size, soonest in asked:
        now, tokens = now + pause, min(size, most)
        units = {"requests": 1, "tokens": tokens}
        left.append((now + take_together(buckets, units, now=now, soonest=soonest), tokens))
    for at, _ in left:
        minute = [tokens for other, tokens in left if at - 60 + 1e-6 < other <= at]
        assert len(minute) <= rpm and sum(minute) <= tpm


def test_a_clock_that_is_set_back_stops_no_bucket() -> None:
    bucket = Bucket.full(6000, at=1e9)
    assert take_together({"requests": bucket}, {"requests": 1000}, now=1e9) > 0
    day_before = 1e9 - 86_400
    assert 0 < bucket.wait(0, now=day_before) < 60
    assert bucket.wait(0, now=day_before + 60) == 0


def _limits(store: Store, clock: Clock, **limits: int | None) -> Limits:
    return Limits(store.ledger, name="e m", clock=clock, **({"rpm": None, "tpm": None} | limits))


def test_tokens_that_were_not_used_are_free_again(store: Store, clock: Clock) -> None:
    async def work() -> None:
        limits = _limits(store, clock, tpm=6000)
        await limits.turn(50)  # half a second's worth, the burst
        assert clock.now == 0
        await limits.turn(1000)
        assert clock.now == pytest.approx(1000 / 98.36, rel=0.001)
        limits.used(100, taken=1000)
        await limits.turn(1)
        assert clock.now == pytest.approx(1000 / 98.36, rel=0.001)
        await limits.close()
        none = _limits(store, clock)
        await none.turn(10**9)
        await none.close()

    asyncio.run(work())


@pytest.mark.parametrize("latest", [0.0, 0.4, 3.0])
def test_two_processes_together_keep_the_limit_of_an_endpoint(store: Store, latest: float) -> None:
    """Sixty a minute, whatever keeps a call between its turn and its leaving.

    The burst is taken off the flow, so the limit is all that a minute may hold. One clock moves the
    event loop, the ledger and what is counted here, and nothing but waiting moves the clock.
    """
    clock, left = Clock(), list[float]()
    clock.now = 1000.0
    other = Ledger(store.ledger.url, owner="another/1/1.00")
    late = random.Random(0)

    async def ask(limits: Limits) -> None:
        until = await limits.turn(1)
        await asyncio.sleep(late.uniform(0, latest))  # the ledger, the budget, a busy machine
        await limits.leave(1, until=until)
        left.append(clock.now)

    async def work() -> None:
        both = [
            Limits(ledger, name="e m", rpm=60, tpm=None, clock=clock)
            for ledger in (store.ledger, other)
        ]
        await asyncio.gather(*(ask(limits) for limits in both for _ in range(150)))
        for limits in both:
            await limits.close()

    run_in(clock, work())
    other.close()
    assert len(left) == 300
    assert most_in_a_minute(left) == 60
    if latest <= LATE_S:  # nobody misses a turn, and no turn is lost
        assert max(left) - min(left) == pytest.approx(299 * 60.5 / 60, abs=LATE_S)


def test_a_ledger_that_is_slow_to_answer_still_gives_turns_that_can_be_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, left = Clock(), list[float]()
    take = store.ledger.take_units

    def slowly(*args: Any, **named: Any) -> list[float]:
        moments = take(*args, **named)
        clock.now += 2.0
        return moments

    monkeypatch.setattr(store.ledger, "take_units", slowly)

    async def work() -> None:
        limits = _limits(store, clock, rpm=6000)
        for _ in range(5):
            await limits.turn(1)
            left.append(clock.now)
        await limits.close()

    run_in(clock, work())
    assert left[0] == 4.0  # the first turn is over before it is known
    assert [b - a for a, b in pairwise(left)] == pytest.approx([2.0] * 4)


def test_a_process_that_dies_leaves_a_second_of_debt_at_most(store: Store, clock: Clock) -> None:
    calls = [{"requests": 1.0}] * 500
    step = 60.5 / 120
    moments = store.ledger.take_units("e m", {"requests": 120}, calls)
    assert moments == pytest.approx([0, step, 2 * step])
    (next_one, *_) = store.ledger.take_units("e m", {"requests": 120}, calls)
    assert next_one == pytest.approx(3 * step)


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


class NinthCall:
    """Answers wait until the key that is good was used nine times.

    Of the first sixteen calls two keys have eight each, so by then the bad one is known for bad.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._ninth = asyncio.Event()

    async def wait(self) -> None:
        self._calls += 1
        if self._calls == 9:
            self._ninth.set()
        await self._ninth.wait()


def test_a_refused_key_rests_and_the_others_do_the_work(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_A", "sk-wrong")
    monkeypatch.setenv("KEY_B", "sk-right")
    answer, ninth = server._answer, NinthCall()
    seen: Counter[str] = Counter()

    async def handle(request: Any) -> Any:
        key = request.headers["Authorization"]
        seen[key] += 1
        if "wrong" in key:
            return await server._fault("401", request, json.loads(await request.read()))
        await ninth.wait()
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
    answer, ninth = server._answer, NinthCall()
    seen: Counter[str] = Counter()

    async def handle(request: Any) -> Any:
        key = request.headers["Authorization"]
        seen[key] += 1
        if "full" in key:
            from aiohttp import web

            return web.Response(status=429, headers={"Retry-After": "300"}, text="{}")
        await ninth.wait()
        return await answer(request)

    server._answer = handle
    ids = fill(store, QUESTIONS)
    section = judging(server.url, api_key_env=["KEY_A", "KEY_B"])
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert len(store.rows("select * from judgements where status = 'ok'")) == 80
    assert seen["Bearer sk-free"] == 80
    assert seen["Bearer sk-full"] <= 16


def test_a_call_waits_for_the_limits_of_its_endpoint(
    store: Store, fill: Fill, judging: Section, server: Any, clock: Clock
) -> None:
    ids = fill(store, QUESTIONS[:2])
    one = {"max_concurrency": 1}  # the clock does not run ahead of a call that is on its way
    section = judging(server.url, rpm=6, **one)
    judge(store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r")
    assert len(server.bodies) == 4
    assert clock.now >= 29  # one in ten seconds, and the first at once
    before, section = clock.now, judging(server.url, tpm=60, **one)
    judge(store, judges=["ultrafeedback"], completion_ids=ids[:1], judging=section, run_id="r")
    used = [tokens_of(body) for body in server.bodies[4:]]
    assert len(used) == 4
    assert clock.now - before >= sum(used) * 0.9  # one token a second


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
