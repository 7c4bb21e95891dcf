"""Pace and plan: concurrency that adapts, pauses that are kept, pairs that cover."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.judging.client.pace import Pace, backoff, retry_after
from factory.judging.client.replies import Usage, cost_of, most_it_can_cost, read_body
from factory.judging.plan import Candidate, pairs
from factory.recipe import Endpoint, Price


def test_no_more_calls_run_than_the_limit_and_every_caller_gets_a_turn() -> None:
    async def work() -> tuple[int, int]:
        pace, running, most, done = Pace(most=5, start=2), 0, 0, 0

        async def one() -> None:
            nonlocal running, most, done
            await pace.enter()
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            pace.grow()
            pace.leave()
            done += 1

        await asyncio.gather(*(one() for _ in range(200)))
        assert pace.in_flight == 0
        return most, done

    assert asyncio.run(work()) == (5, 200)


def test_an_objection_halves_the_limit_once_per_generation() -> None:
    async def work() -> None:
        pace = Pace(most=64, start=64)
        generation = await pace.enter()
        other = await pace.enter()
        pace.cut(generation)
        pace.cut(other)
        assert pace.limit == 32
        for _ in range(64):
            pace.grow()
        assert 33 < pace.limit < 35  # additive: about one place per round of answers
        for _ in range(20):
            pace.cut(await _generation(pace))
        assert pace.limit == 1

    async def _generation(pace: Pace) -> int:
        pace.leave()
        pace.in_flight = 0
        return await pace.enter()

    asyncio.run(work())


def test_a_cancelled_caller_gives_its_place_on() -> None:
    async def work() -> None:
        pace = Pace(most=1, start=1)
        await pace.enter()
        first, second = (asyncio.create_task(pace.enter()) for _ in range(2))
        await asyncio.sleep(0)
        pace.leave()  # the first waiter has the place now, and is cancelled before it runs
        first.cancel()
        await asyncio.wait([first])
        await second
        assert pace.in_flight == 1

    asyncio.run(work())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=datetime(2026, 11, 20, 12, tzinfo=UTC)) == seconds


def test_backoff_doubles_up_to_its_limit() -> None:
    for tries in range(1, 60):
        assert min(30, 0.5 * 2 ** (tries - 1)) / 2 <= backoff(tries) <= 30


@given(st.integers(0, 9), st.integers(0, 5), st.integers(0, 40))
def test_pairs_are_distinct_cover_evenly_and_end_with_all(n: int, seed: int, k: int) -> None:
    ring = [
        Candidate(completion_id=f"{i:032x}", prompt_id="p", text_hash=str(i), bucket=0)
        for i in range(n)
    ]
    every = list(pairs(ring, seed=seed))
    assert len(every) == len(set(every)) == n * (n - 1) // 2
    assert all(a < b for a, b in every)
    assert every == list(pairs(list(reversed(ring)), seed=seed))
    seen = Counter(i for pair in every[:k] for i in pair)
    if n > 1 and k * 2 >= n + n % 2 and k <= len(every):
        assert len(seen) == n
        assert max(seen.values()) - min(seen.values()) <= 2


def test_prices_are_rounded_up_and_bounded_before_the_call() -> None:
    price = Price(input=2.5, output=10.0, cached_input=1.25)
    endpoint = Endpoint(base_url="http://127.0.0.1", model="m", price=price)
    assert cost_of(Usage(tokens_in=1, tokens_out=0), endpoint) == 3
    assert cost_of(Usage(tokens_in=1000, tokens_out=100, cached=400), endpoint) == 3000
    body = {"messages": [{"role": "user", "content": "\u20ac" * 10}], "max_tokens": 5}
    assert most_it_can_cost(body, endpoint) >= cost_of(Usage(tokens_in=40, tokens_out=5), endpoint)


@given(st.binary(max_size=200))
def test_no_body_makes_the_reader_raise(body: bytes) -> None:
    reply, _ = read_body(body)
    assert reply.error


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "refusal", "usage", "logprobs", "model",
                         "finish_reason", "prompt_tokens", "top_logprobs"]), inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(_JSON)
def test_no_json_makes_the_reader_raise(value: object) -> None:
    import json

    reply, _ = read_body(json.dumps(value).encode())
    assert reply.text.encode().decode() == reply.text
