"""A run that is stopped ends, whatever its calls wait for; a text's refusal is not the key's."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from factory.errors import BudgetExhausted, RecipeError, Stopped, UserError
from factory.judging import asking
from factory.judging.client.calls import Client, call_of
from factory.judging.client.replies import most_it_can_cost
from factory.judging.verb import judge
from factory.recipe import Endpoint, Price
from factory.recipe.model import Judging
from factory.store import CallResult, Ledger, Store
from factory.store.journal import Journal

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]

QUESTIONS = [(f"What is {i}?", [f"It is {i}."]) for i in range(20)]


def _calls(n: int) -> list[Any]:
    return [
        call_of({"model": "m", "messages": [{"role": "user", "content": str(i)}], "max_tokens": 8})
        for i in range(n)
    ]


def _endpoint(url: str, **more: Any) -> Endpoint:
    return Endpoint(base_url=url, model="m", price=Price(input=1.0, output=2.0), **more)


async def _asked_and_stopped(client: Client, server: Any, *, calls: int, after: int) -> list[Any]:
    """The answers of a client that is stopped once so many requests have arrived."""
    asking = asyncio.create_task(client.ask_all(_calls(calls)))
    while len(server.bodies) < after:
        await asyncio.sleep(0.01)
    client.stop()
    try:
        return await asyncio.wait_for(asking, 60)
    finally:
        await client.close()


def test_a_long_retry_after_keeps_no_stopped_run_from_ending(store: Store, server: Any) -> None:
    answer = server._answer

    async def busy(request: Any) -> Any:
        from aiohttp import web

        await answer(request)
        return web.Response(status=429, headers={"Retry-After": "86400"}, text="{}")

    server._answer = busy

    async def work() -> list[Any]:
        client = Client(
            _endpoint(server.url), name="main", ledger=store.ledger, budget_id=None, run_id="r"
        )
        return await _asked_and_stopped(client, server, calls=40, after=16)

    found = asyncio.run(work())
    assert {type(answer) for answer in found} == {Stopped}
    assert len(server.bodies) == 16  # nobody else left, before or after
    assert {c["state"] for c in store.rows("select state from calls")} == {"failed"}


def test_a_call_that_waited_for_the_budget_does_not_leave_after_the_stop(
    store: Store, server: Any
) -> None:
    reserve = most_it_can_cost(_calls(1)[0].body, _endpoint("http://x"))
    store.ledger.set_budget("b", limit_microusd=2 * reserve - 1)

    async def work() -> list[Any]:
        server.hold = asyncio.Event()
        client = Client(
            _endpoint(server.url), name="main", ledger=store.ledger, budget_id="b", run_id="r"
        )
        asking = asyncio.create_task(client.ask_all(_calls(2)))
        while not server.bodies:
            await asyncio.sleep(0.01)
        client.stop()
        loop = server.loop_of_hold
        loop.call_soon_threadsafe(server.hold.set)
        found = await asyncio.wait_for(asking, 60)
        await client.close()
        return found

    answer = server._answer

    async def told(request: Any) -> Any:
        server.loop_of_hold = asyncio.get_running_loop()
        return await answer(request)

    server._answer = told
    found = asyncio.run(work())
    assert sorted(type(answer).__name__ for answer in found) == ["Answer", "Stopped"]
    assert len(server.bodies) == 1
    budget = store.ledger.budget("b")
    assert budget is not None and budget["reserved_microusd"] == 0


def test_an_answer_that_cannot_be_written_leaves_nobody_waiting(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that is locked for too long while another call waits for the budget."""
    store.ledger.set_budget("b", limit_microusd=10)

    def locked(results: Any) -> None:
        raise UserError("the ledger has been locked by another process")

    async def work() -> list[Any]:
        journal = Journal(store.ledger, budget_id="b")
        intents = [_intent(call.call_id, price=8) for call in _calls(2)]
        assert await journal.send(intents[0])
        waiting = asyncio.create_task(journal.send(intents[1]))
        while not journal._parked:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(store.ledger, "finish", locked)
        done = CallResult(call_id=intents[0].call_id, state="done", outcome="ok", response="{}")
        found = await asyncio.wait_for(
            asyncio.gather(journal.finish(done), waiting, return_exceptions=True), 60
        )
        await journal.close()
        return found

    told, refused = asyncio.run(work())
    assert isinstance(told, UserError) and "locked" in told.message
    assert isinstance(refused, BudgetExhausted)


def _intent(call_id: str, *, price: int) -> Any:
    from factory.store import CallIntent

    return CallIntent(
        call_id=call_id, kind="chat", endpoint="e", model="m", request_hash=call_id,
        reserve_microusd=price,
    )  # fmt: skip


def _forbidding(server: Any, forbidden: Callable[[str, dict[str, Any]], bool]) -> Counter[str]:
    answer, seen = server._answer, Counter[str]()

    async def handle(request: Any) -> Any:
        key = request.headers.get("Authorization", "")
        body = json.loads(await request.read())
        seen[key] += 1
        if forbidden(key, body):
            from aiohttp import web

            said = {"error": {"message": "your input was flagged", "code": "moderation"}}
            return web.json_response(said, status=403)
        return await answer(request)

    server._answer = handle
    return seen


def test_shards_that_fail_together_end_the_run_with_one_error_and_no_other_is_shown(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    arrived: list[asyncio.Event] = []

    async def fail(*_: Any) -> None:
        arrived.append(arrived[0] if arrived else asyncio.Event())
        number = len(arrived)
        if number == asking.SHARDS_AT_ONCE:
            arrived[0].set()
        await arrived[0].wait()
        raise KeyError("a bug") if number == 1 else Stopped("the vendor is closed", next="wait")

    monkeypatch.setattr(asking, "_ask_shard", fail)
    ids = fill(store, QUESTIONS)
    section = judging(server.url, shard=5)
    with pytest.raises(KeyError):
        judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_text_that_the_vendor_forbids_is_an_error_row_and_ends_no_run(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    seen = _forbidding(server, lambda key, body: "hostile" in str(body["messages"]))
    ids = fill(store, [("Say hostile things.", ["No.", "Well."]), *QUESTIONS])
    section = judging(server.url)
    judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    rows = store.rows(
        "select status, rationale, count(*) n from judgements where status = 'error' "
        "or rationale is null group by all"
    )
    assert rows == [{"status": "error", "rationale": "http_403_flagged", "n": 8}]
    assert sum(seen.values()) < 80 + 8 * 6


def test_a_key_that_is_forbidden_everything_ends_the_run(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    _forbidding(server, lambda key, body: True)
    ids = fill(store, QUESTIONS)
    with pytest.raises(Stopped, match="refused a call without api_key_env: your input was"):
        judge(
            store, judges=["ultrafeedback"], completion_ids=ids, judging=judging(server.url),
            run_id="r",
        )  # fmt: skip
    assert store.rows("select * from judgements where status = 'error'") == []


def test_nobody_is_followed_to_a_server_that_the_recipe_does_not_name(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    answer, elsewhere = server._answer, []

    async def redirect(request: Any) -> Any:
        from aiohttp import web

        if "elsewhere" in request.query:
            elsewhere.append(request)
            return await answer(request)
        url = f"{server.url}/chat/completions?elsewhere=1"
        return web.Response(status=307, headers={"Location": url})

    server._answer = redirect
    ids = fill(store, QUESTIONS[:2])
    with pytest.raises(Stopped, match=r"sends its callers elsewhere: http.*elsewhere=1"):
        judge(
            store, judges=["ultrafeedback"], completion_ids=ids, judging=judging(server.url),
            run_id="r",
        )  # fmt: skip
    assert elsewhere == []


def test_a_key_from_a_file_loses_its_line_end_and_one_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1/v1", model="m", api_key_env="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", "sk-one\n")
    assert endpoint.api_keys() == ("sk-one",)
    for bad in ("sk-one\nsk-two", "sk one", "sk-\u00e9"):
        monkeypatch.setenv("JUDGE_KEY", bad)
        with pytest.raises(RecipeError, match="JUDGE_KEY holds no key") as said:
            endpoint.api_keys()
        assert "one" not in str(said.value)
    monkeypatch.setenv("JUDGE_KEY", " \n")
    with pytest.raises(RecipeError, match="JUDGE_KEY is not set"):
        endpoint.api_keys()


def test_a_reservation_covers_what_the_endpoint_may_write_and_a_schema() -> None:
    endpoint = _endpoint("http://x")
    plain = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}
    wider = plain | {"max_completion_tokens": 5000}
    schema = plain | {"response_format": {"type": "json_schema", "json_schema": {"a": "x" * 900}}}
    least = most_it_can_cost(plain, endpoint)
    assert most_it_can_cost(wider, endpoint) >= least + 4900 * 2
    assert most_it_can_cost(schema, endpoint) >= least + 900


def test_commits_that_run_side_by_side_count_every_row(store: Store, fill: Fill) -> None:
    from factory.judging import files
    from factory.judging.outcomes import good
    from factory.judging.plan import task_of
    from factory.judging.verb import JudgeReport
    from factory.judging.work import Commit, row_of, source_of

    ids = fill(store, [("q", [str(i) for i in range(64)])])
    source = source_of(files.load("mt-bench-single"))
    done = JudgeReport(judge="mt-bench-single", judge_id=source.judge_id)
    commit = Commit(store, source=source, run_id="r", report=done, tell=None)

    def rows(i: str) -> list[dict[str, object]]:
        task = task_of(
            source.judge, (i,), judge_id=source.judge_id, prompt_id="p", aspect="", replicate=0,
            bucket=0,
        )  # fmt: skip
        return [row_of(task, good(4.0), source)]

    threads = [threading.Thread(target=commit, args=[rows(i)]) for i in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (done.made, done.statuses["ok"]) == (64, 64)


def test_a_server_on_this_machine_is_asked_past_every_proxy(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    ids = fill(store, QUESTIONS[:1])
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        section = judging(url, revision=url)
        judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    assert len(server.bodies) == 8


@pytest.mark.parametrize("end", ["answered", "failed", "died"])
def test_a_call_that_another_process_has_is_waited_for(
    store: Store, fill: Fill, judging: Section, server: Any, end: str
) -> None:
    """Two runs that need the same verdict: neither goes on without it."""
    from factory.judging.outcomes import Reply

    server.brain = lambda body: "[[4]]"
    ids = fill(store, QUESTIONS[:1])
    judge(
        store, judges=["mt-bench-single"], completion_ids=ids, judging=judging(server.url),
        run_id="r",
    )  # fmt: skip
    (body,) = server.bodies
    intent = _intent(call_of(body, revision="2").call_id, price=5)
    host = store.ledger.owner.partition("/")[0]
    owner = f"{host}/999999999/1.00" if end == "died" else "elsewhere/1/1.00"
    other = Ledger(store.ledger.url, owner=owner)
    assert other.reserve_and_send([intent])
    section = judging(server.url, revision="2")
    if end != "died":
        state: dict[str, Any] = {"state": "done", "outcome": "ok", "cost_microusd": 3}
        if end == "failed":
            state = {"state": "failed", "outcome": "http_500"}
        reply = Reply(text="[[9]]").dumps()
        late = CallResult(call_id=intent.call_id, response=reply, **state)
        timer = threading.Timer(1.0, lambda: other.finish([late]))
        timer.start()
    report = judge(
        store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r"
    ).judges[0]
    (row,) = store.rows(
        "select score, cost_microusd as c from judgements where judge_model_id = 'the-judge@2'"
    )
    assert row["score"] == (9.0 if end == "answered" else 4.0)
    assert (report.held, report.recovered) == (0, int(end == "answered"))
    assert (row["c"] == 3) == (end == "answered")
    other.close()
