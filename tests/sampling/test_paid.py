"""Law 9 for servers that sample: in the ledger before it leaves and when it returns, paid once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from factory.errors import BudgetExhausted, RecipeError, StageFailed, Stopped, UserError
from factory.recipe import Price, Sampling
from factory.rows import SamplingParams
from factory.sampling.base import SampleRequest, open_sampler
from factory.sampling.engines.openai import OpenAISampler
from factory.sampling.faults import EngineClosed
from factory.sampling.paid import without_secrets
from factory.sampling.requests import Account
from factory.sampling.verb import plan
from factory.stages import models
from factory.stages.accounts import account_of
from factory.stages.crew import Crew
from factory.store import Ledger, Store, open_store
from tests.sampling.conftest import ASSISTANT, BOS, END, USER
from tests.sampling.servers import Server, noted, wait_for_health_checks_of

PARAMS = SamplingParams(max_tokens=8)
PRICE = Price(input=1.0, output=10.0)


class Vendor:
    """Bills each key once and repeats its answer, which no other key gets, for nothing."""

    def __init__(self, at: Callable[[int], None] | None = None, *, honours: bool = True) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.billed: Counter[str] = Counter()
        self._at = at
        self._honours = honours

    def __call__(self, server: Server, body: dict[str, Any]) -> dict[str, Any]:
        key = server.key
        assert key
        if self._at is not None:
            self._at(len(server.asked))
        if key not in self.answers or not self._honours:
            self.billed[key] += 1
            answer = server.usual(body)
            for choice in answer["choices"]:
                if "token_ids" in choice:
                    choice["token_ids"] = [50 + body["seed"] % 200, 60]
            self.answers[key] = {**answer, "usage": usage(body)}
        return self.answers[key]

    @property
    def charged(self) -> int:
        """Micro-dollars, by the price of these tests."""
        return sum(
            n * (a["usage"]["prompt_tokens"] + 10 * a["usage"]["completion_tokens"])
            for key, n in self.billed.items()
            for a in [self.answers[key]]
        )


def usage(body: dict[str, Any]) -> dict[str, int]:
    return {"prompt_tokens": len(body.get("prompt", "abcdef")),
            "completion_tokens": 2 * body["n"]}  # fmt: skip


def requests(count: int, *, n: int = 2, first: int = 0) -> list[SampleRequest]:
    said = ({"role": "user", "content": "hi"},)
    ids = [BOS, USER, 60, END, ASSISTANT]
    return [SampleRequest(f"p{i}", ids, first, n, 100 * i, said) for i in range(count)]


@contextmanager
def opened(
    model_dir: Path, ledger: Ledger, log: Path, *urls: str, budget_id: str | None = None,
    **settings: Any,
) -> Iterator[OpenAISampler]:  # fmt: skip
    account = Account(ledger=ledger, model_id="m1", run_id="r", budget_id=budget_id)
    sampler: Any = open_sampler(
        "openai", model_dir, log=log, stall_s=60, account=account,
        settings={"urls": list(urls), "price": PRICE.model_dump(), **settings},
    )  # fmt: skip
    try:
        yield sampler
    finally:
        sampler.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "pool.log"


def calls(ledger: Ledger) -> list[dict[str, Any]]:
    return sorted(ledger.table("calls"), key=lambda row: row["sent_at"])


# --- before it leaves, when it returns ------------------------------------------------------------


@pytest.mark.parametrize("vllm", [True, False])
def test_a_call_is_in_the_ledger_when_it_reaches_the_server_and_its_answer_when_it_is_given(
    store: Store, model_dir: Path, log: Path, vllm: bool
) -> None:
    seen: list[tuple[str, int]] = []
    vendor = Vendor(lambda _: seen.extend((r["state"], r["reserve_microusd"])
                                          for r in calls(store.ledger)[-1:]))  # fmt: skip
    with (
        Server(vendor, vllm=vllm) as server,
        opened(model_dir, store.ledger, log, server.url, concurrency=1) as sampler,
    ):
        sampler.sample(requests(1), PARAMS)
    made = calls(store.ledger)
    assert {state for state, _ in seen} == {"sent"}
    assert [r["call_id"] for r in made] == server.keys
    assert all(
        reserve >= row["cost_microusd"] for (_, reserve), row in zip(seen, made, strict=True)
    )
    assert {(r["state"], r["kind"], r["price"], r["model"]) for r in made} == {
        ("done", "sample", "recipe", "m")
    }
    assert sum(r["cost_microusd"] for r in made) == vendor.charged > 0
    [day] = store.rows("select calls, done, cost_microusd from cost_by_day where kind = 'sample'")
    assert day == {"calls": len(made), "done": len(made), "cost_microusd": vendor.charged}


def test_an_answer_in_the_ledger_is_used_at_whatever_url_and_another_sample_is_another_call(
    store: Store, model_dir: Path, log: Path
) -> None:
    with Server(Vendor()) as one, opened(model_dir, store.ledger, log, one.url) as sampler:
        first = sampler.sample(requests(20), PARAMS)
    with Server(Vendor()) as two, opened(model_dir, store.ledger, log, two.url) as sampler:
        assert sampler.sample(requests(20), PARAMS) == first
        assert two.asked == []
        sampler.sample(requests(1, first=2), PARAMS)
        sampler.sample(requests(1, n=3), PARAMS)
        sampler.sample(requests(1), SamplingParams(max_tokens=9))
        assert len(two.asked) == len(set(two.keys)) == 3


def test_what_is_no_answer_costs_what_it_may_have_cost_and_is_asked_again_under_its_key(
    store: Store, model_dir: Path, log: Path
) -> None:
    said = iter([
        web.json_response({"error": "busy"}, status=500),
        web.json_response({"error": "slow"}, status=429, headers={"Retry-After": "0"}),
        web.Response(text="<html>"),
        {"choices": [{"index": 7, "token_ids": "x"}], "usage": {"prompt_tokens": 10,
                                                                "completion_tokens": 1}},
    ])  # fmt: skip

    def broken(server: Server, body: dict[str, Any]) -> Any:
        return next(said, None)

    with Server(broken) as server, opened(model_dir, store.ledger, log, server.url) as sampler:
        assert len(sampler.sample(requests(1), PARAMS)) == 2
    tries = sorted(store.ledger.table("attempts"), key=lambda row: row["attempt"])
    reserve = 5 + 10 * 2 * 8
    assert [(t["outcome"], t["cost_microusd"]) for t in tries] == [
        ("http_500", 0), ("http_429", 0), ("http_502", reserve), ("malformed", 20), ("ok", reserve)
    ]  # fmt: skip
    assert len(set(server.keys)) == 1


def test_an_answer_to_another_prompt_is_not_kept(store: Store, model_dir: Path, log: Path) -> None:
    def cut(server: Server, body: dict[str, Any]) -> dict[str, Any]:
        answer = server.usual(body)
        answer["choices"][0]["prompt_token_ids"] = [1]
        return answer

    with (
        Server(cut) as server,
        opened(model_dir, store.ledger, log, server.url) as sampler,
        pytest.raises(UserError, match="another prompt"),
    ):
        sampler.sample(requests(1), PARAMS)
    assert [(r["state"], r["outcome"]) for r in calls(store.ledger)] == [("failed", "other_prompt")]


def test_an_error_lets_what_is_on_its_way_come_back_and_be_kept(
    store: Store, model_dir: Path, log: Path
) -> None:
    def one_bad(server: Server, body: dict[str, Any]) -> Any:
        if body["seed"] == 300:
            return web.json_response({"error": "bad"}, status=400)
        return None

    with (
        Server(one_bad) as server,
        opened(model_dir, store.ledger, log, server.url) as sampler,
        pytest.raises(UserError, match="said 400"),
    ):
        sampler.sample(requests(60), PARAMS)
    states = Counter(r["state"] for r in calls(store.ledger))
    assert states == {"failed": 1, "done": len(server.asked) - 1}


def test_a_closed_engine_counts_what_it_gave_up_as_spent(
    store: Store, model_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.sampling.engines.openai.LAST_WORDS_S", 0.1)
    reached = threading.Event()

    def hang(server: Server, body: dict[str, Any]) -> dict[str, Any]:
        reached.set()
        return {"hang": True}

    store.ledger.set_budget("b", limit_microusd=1_000_000)
    with (
        Server(hang) as server,
        opened(model_dir, store.ledger, log, server.url, budget_id="b") as sampler,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(sampler.sample, requests(1), PARAMS)
        assert reached.wait(60)
        sampler.close()
        with pytest.raises(EngineClosed):
            asked.result(60)
    assert [(r["state"], r["outcome"]) for r in calls(store.ledger)] == [("failed", "cancelled")]
    found = store.ledger.budget("b")
    assert found is not None
    assert (found["reserved_microusd"], found["spent_microusd"]) == (0, 5 + 10 * 2 * 8)


def going_deaf(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Hear one call, then answer nothing at all."""
    server.deaf = True
    return {"hang": True}


def test_a_call_that_is_moved_is_one_call_with_two_tries_of_which_the_lost_one_counts_as_spent(
    store: Store, model_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ledger.set_budget("b", limit_microusd=1_000_000)
    with (
        ThreadPoolExecutor(1) as pool,
        Server(going_deaf) as bad,
        Server(Vendor()) as good,
        opened(
            model_dir, store.ledger, log, bad.url, good.url, budget_id="b", concurrency=1,
            timeout_s=3600, health_s=0.3,
        ) as sampler,
    ):  # fmt: skip
        wait_for_health_checks_of(monkeypatch, good)
        assert len(pool.submit(sampler.sample, requests(4), PARAMS).result(60)) == 8
    [lost] = bad.keys
    assert lost in good.keys and len(good.keys) == len(set(good.keys)) == 4
    made = calls(store.ledger)
    assert [r["state"] for r in made] == ["done"] * 4
    reserve, real = 5 + 10 * 2 * 8, 5 + 10 * 4
    tries = sorted(store.ledger.table("attempts"), key=lambda row: row["attempt"])
    assert [(t["outcome"], t["cost_microusd"]) for t in tries if t["call_id"] == lost] == [
        ("no_answer", reserve), ("ok", real)
    ]  # fmt: skip
    assert sum(r["cost_microusd"] for r in made) == 4 * real + reserve
    found = store.ledger.budget("b")
    assert found is not None
    assert (found["spent_microusd"], found["reserved_microusd"]) == (4 * real + reserve, 0)


def test_where_calls_in_doubt_are_held_none_is_moved_before_its_time_out(
    store: Store, model_dir: Path, log: Path
) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        Server(going_deaf) as bad,
        Server(Vendor()) as good,
        opened(
            model_dir, store.ledger, log, bad.url, good.url, concurrency=1, timeout_s=3600,
            health_s=0.1, in_doubt="hold",
        ) as sampler,
    ):  # fmt: skip
        with noted(f"endpoint {bad.url} gets no calls until it is healthy") as drained:
            asked = pool.submit(sampler.sample, requests(4), PARAMS)
            assert drained.wait(60)
        assert not asked.done()
        bad.release()
        assert len(asked.result(60)) == 8
    assert not set(bad.keys) & set(good.keys)
    assert {t["attempt"] for t in store.ledger.table("attempts")} == {1}


# --- in doubt -------------------------------------------------------------------------------------


def left_by_a_dead_process(store: Store, model_dir: Path, log: Path) -> str:
    """One call that reached a server whose answer nobody lived to hear; its id."""
    with Server(Vendor()) as server, opened(model_dir, store.ledger, log, server.url) as sampler:
        sampler.sample(requests(1), PARAMS)
    with store.ledger.transaction() as con:
        con.exec_driver_sql("update calls set state = 'sent', response = null, owner = ?",
                            (f"{store.ledger.owner.split('/')[0]}/999999999/1.00",))  # fmt: skip
    return server.keys[0]


def test_a_call_of_a_dead_process_is_sent_again_under_its_key(
    store: Store, model_dir: Path, log: Path
) -> None:
    key = left_by_a_dead_process(store, model_dir, log)
    with Server(Vendor()) as server, opened(model_dir, store.ledger, log, server.url) as sampler:
        assert len(sampler.sample(requests(1), PARAMS)) == 2
    assert server.keys == [key]


def test_a_held_call_waits_for_a_person_who_says_resend(
    store: Store, model_dir: Path, log: Path
) -> None:
    key = left_by_a_dead_process(store, model_dir, log)
    with Server(Vendor()) as server:
        for _ in range(2):
            with (
                opened(model_dir, store.ledger, log, server.url, in_doubt="hold") as sampler,
                pytest.raises(Stopped, match="is held"),
            ):
                sampler.sample(requests(1), PARAMS)
        assert server.asked == []
        assert [r["state"] for r in calls(store.ledger)] == ["held"]
        with opened(model_dir, store.ledger, log, server.url) as sampler:
            assert len(sampler.sample(requests(1), PARAMS)) == 2
    assert server.keys == [key]


# --- a budget -------------------------------------------------------------------------------------


def remote_model(folder: Path, model_dir: Path, url: str, **more: Any) -> Path:
    file = folder / "big.yaml"
    said = {
        "remote": "m", "revision": "1", "tokenizer": str(model_dir),
        "price": {"input": 1, "output": 10}, "settings": {"urls": [url], "concurrency": 8}, **more,
    }  # fmt: skip
    file.write_text(yaml.safe_dump(said))
    return file


def sampled(
    store: Store, file: Path, prompts: list[str], *, shard: int = 100, **settings: Any
) -> int:
    """What one command does: plan what is missing and sample it."""
    model_id = models.register(store, file, kind="reference", run_id="r")
    draw = {"model_id": model_id, "params_id": PARAMS.params_id, "seed": 1, "n": 2,
            "prompt_ids": prompts}  # fmt: skip
    place = models.parts(models.directory(store, model_id))[0]
    shards = plan(store, draws=[draw], params=PARAMS, model_dir=place, run_id="r", shard_size=shard)
    crew = Crew(
        store, Sampling(engine="echo", **settings), run_id="r",
        log=lambda name: store.workspace / f"{name}.log", note=print,
    )  # fmt: skip
    try:
        crew.begin(shards)
        return sum(crew.sample(shard) for shard in shards)
    finally:
        crew.close()


def test_a_budget_stops_the_run_and_a_raised_one_goes_on_and_pays_nothing_twice(
    store: Store, add_prompts: Callable[..., list[str]], model_dir: Path, tmp_path: Path
) -> None:
    prompts = add_prompts(*(f"say {i}" for i in range(60)))
    vendor = Vendor()
    with Server(vendor) as server:
        file = remote_model(tmp_path, model_dir, server.url)
        with pytest.raises(BudgetExhausted) as caught:
            sampled(store, file, prompts, shard=20, budget_usd=0.0015)
        assert caught.value.exit_code == 75
        assert "sampling.budget_usd" in str(caught.value.next)
        paid = len(server.asked)
        assert 0 < paid < 60 and vendor.charged <= 1500
        sampled(store, file, prompts, shard=20, budget_usd=1.0)
    assert len(server.asked) == 60 and set(vendor.billed.values()) == {1}
    budget = store.ledger.budget("r/sampling")
    assert budget is not None
    assert (budget["spent_microusd"], budget["reserved_microusd"]) == (vendor.charged, 0)
    assert store.rows("select count(*) as n from completions") == [{"n": 120}]


def texts(ledger: Ledger) -> list[int]:
    """Lengths of the answers that the ledger has, in bytes."""
    return [len(r["response"]) for r in calls(ledger) if r["response"] is not None]


@pytest.mark.parametrize("vllm", [True, False])
def test_an_answer_leaves_the_ledger_a_day_after_its_rows_are_in_the_lake_and_not_before(
    store: Store, add_prompts: Callable[..., list[str]], model_dir: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, vllm: bool,
) -> None:  # fmt: skip
    prompts = add_prompts(*(f"say {i}" for i in range(12)))
    ledger = store.ledger

    def aged() -> None:
        with ledger.transaction() as con:
            con.exec_driver_sql("update calls set done_at = done_at - 90000")

    with Server(Vendor(), vllm=vllm) as server:
        file = remote_model(tmp_path, model_dir, server.url)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "append", dying_on_completions())
            with pytest.raises(StageFailed, match="the disk is full"):
                sampled(store, file, prompts)
        aged()
        assert ledger.forget_answers() == 0  # no row is there yet
        asked = len(server.asked)
        assert len(texts(ledger)) == asked
        sampled(store, file, prompts)
        assert len(server.asked) == asked
        assert store.rows("select count(*) as n from completions") == [{"n": 24}]
        assert ledger.forget_answers(dry_run=True) == asked
        before = store.rows("from cost_by_day")
        sampled(store, file, add_prompts("say one more"))  # a run that asks tidies up
        assert len(texts(ledger)) == len(server.asked) - asked
        after = store.rows("select sum(cost_microusd) as c from cost_by_day")
        assert after[0]["c"] > sum(row["cost_microusd"] for row in before)
        assert sampled(store, file, prompts) == 0


def dying_on_completions() -> Callable[..., int]:
    append = Store.append

    def dying(self: Store, table: str, *args: Any, **more: Any) -> int:
        if table == "completions":
            raise StageFailed("the disk is full")
        return append(self, table, *args, **more)

    return dying


def test_an_answer_that_was_dropped_and_is_needed_again_is_asked_for_again(
    store: Store, model_dir: Path, log: Path
) -> None:
    with Server(Vendor()) as server, opened(model_dir, store.ledger, log, server.url) as sampler:
        first = sampler.sample(requests(3), PARAMS)
        store.ledger.rows_are_kept({s.call_id for s in first})
        assert store.ledger.forget_answers(older_s=-1) == 3
        assert texts(store.ledger) == []
        assert sampler.sample(requests(3), PARAMS) == first
    assert Counter(server.keys) == dict.fromkeys({s.call_id for s in first}, 2)
    assert len(texts(store.ledger)) == 3


def test_a_budget_needs_a_price_where_a_server_is_not_ours(store: Store, model_dir: Path) -> None:
    sampling = Sampling(engine="openai", budget_usd=1.0)
    vendor: dict[str, object] = {"urls": ["https://api.example.com/v1"], "model": "unheard-of"}

    def account(**settings: object) -> Account:
        return account_of(
            store, sampling, model_id="m", run_id="r", settings={**vendor, **settings}
        )

    with pytest.raises(RecipeError, match="nothing says what unheard-of costs"):
        account()
    assert account(price={"input": 1}).budget_id == "r/sampling"
    assert account(urls=["http://10.0.0.7:8000/v1"]).budget_id == "r/sampling"


def test_a_url_is_written_down_without_what_is_secret_in_it() -> None:
    assert without_secrets("https://me:pw@host:8000/v1?key=1") == "https://host:8000/v1"


# --- kill -9 --------------------------------------------------------------------------------------

_CHILD = """
import json, sys
from pathlib import Path
from factory.store import open_store
from tests.sampling.test_paid import sampled
workspace, file, prompts = json.loads(sys.argv[1])
sampled(open_store(Path(workspace)), Path(file), prompts)
"""
_ROWS = """
select completion_id, token_ids, logprobs, text, finish_reason, seed
from completions order by 1
"""


def test_kill_9_at_random_moments_loses_no_answer_and_pays_once(
    store: Store, add_prompts: Callable[..., list[str]], model_dir: Path, tmp_path: Path,
    repository: Path,
) -> None:  # fmt: skip
    prompts = add_prompts(*(f"say {i}" for i in range(240)))
    draw = random.Random(7)
    child: list[subprocess.Popen[bytes]] = []
    deaths = iter([draw.randint(3, 70) for _ in range(4)])
    left = [next(deaths)]

    def fate(_: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            child[-1].send_signal(signal.SIGKILL)
            left[0] = next(deaths, 0)

    vendor, lives = Vendor(fate), 0
    with Server(vendor) as server:
        file = remote_model(tmp_path, model_dir, server.url)
        words = json.dumps([str(store.workspace), str(file), prompts])
        while True:
            child.append(
                subprocess.Popen([sys.executable, "-c", _CHILD, words], cwd=repository,
                                 start_new_session=True)
            )  # fmt: skip
            lives += 1
            code = child[-1].wait(120)
            if code == 0:
                break
            assert code == -signal.SIGKILL
    assert lives == 5
    assert len(vendor.billed) == 240 and set(vendor.billed.values()) == {1}
    again = Counter(server.keys)
    answered = {r["call_id"] for r in calls(store.ledger) if r["attempts"] == 1}
    assert all(again[key] == 1 for key in answered) and len(answered) >= 240 - 4 * 8
    assert {r["state"] for r in calls(store.ledger)} == {"done"}

    whole = open_store(tmp_path / "whole", create=True)
    whole.append("prompts", store.query("from prompts"), run_id="test")
    with Server(Vendor()) as server:
        sampled(whole, remote_model(tmp_path, model_dir, server.url), prompts)
    assert store.rows(_ROWS) == whole.rows(_ROWS)
    assert len(store.rows(_ROWS)) == 480


def test_what_sampling_may_cost_is_no_part_of_what_a_recipe_is(repository: Path) -> None:
    from factory.recipe import load

    words = ["sampling.engine=openai", "sampling.settings.url=http://a/v1"]
    paid = ["sampling.budget_usd=2", "sampling.settings.price.input=1"]
    recipe = str(repository / "recipes" / "quickstart.yaml")
    ids = {load(recipe, overrides=[*words, *more]).recipe_id for more in ([], paid)}
    assert len(ids) == 1
