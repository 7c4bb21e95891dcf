"""A pool of endpoints: exact ids where a server gives them, every row there whatever fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from factory.errors import StageFailed, UserError
from factory.rows import SamplingParams
from factory.sampling.base import SampleRequest, open_sampler
from factory.sampling.engines.openai import OpenAISampler
from factory.sampling.faults import EngineClosed
from factory.sampling.wire import retry_after
from tests.sampling.conftest import ASSISTANT, BOS, END, USER
from tests.sampling.servers import Server, in_step, noted, wait_for_health_checks_of

PARAMS = SamplingParams(max_tokens=8)


def requests(count: int, *, n: int = 2) -> list[SampleRequest]:
    said = ({"role": "user", "content": "hi"},)
    return [
        SampleRequest(f"p{i}", [BOS, USER, *([60] * (i % 7)), END, ASSISTANT], 0, n, 100 * i, said)
        for i in range(count)
    ]


@contextmanager
def opened(
    model_dir: Path, log: Path, *urls: str, stall_s: float = 60, **settings: Any
) -> Iterator[OpenAISampler]:
    sampler: Any = open_sampler(
        "openai", model_dir, settings={"urls": list(urls), **settings}, log=log, stall_s=stall_s
    )
    try:
        yield sampler
    finally:
        sampler.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "pool.log"


def keys(samples: list[Any]) -> list[tuple[str, int]]:
    return sorted((s.prompt_id, s.sample_idx) for s in samples)


def wanted(count: int, n: int = 2) -> list[tuple[str, int]]:
    return sorted((f"p{i}", j) for i in range(count) for j in range(n))


# --- what is sent and what is kept ----------------------------------------------------------------


def test_a_vllm_server_is_sent_token_ids_and_every_parameter_and_its_ids_are_kept(
    model_dir: Path, log: Path
) -> None:
    with Server() as server, opened(model_dir, log, server.url) as sampler:
        [request] = requests(1)
        found = sampler.sample([request], SamplingParams(max_tokens=8, temperature=0.5, top_k=3))
        assert (sampler.engine_version, sampler.max_model_len) == ("vllm 9", 96)
    assert [s.token_ids for s in found] == [[50, 4], [51, 4]]
    assert found[0].logprobs == [-0.5, -0.25] and not found[0].retokenised
    assert server.asked == [
        {
            "model": "m", "prompt": request.prompt_token_ids, "n": 2, "seed": 0, "logprobs": 0,
            "return_token_ids": True, "temperature": 0.5, "top_p": 1.0, "top_k": 3, "min_p": 0.0,
            "repetition_penalty": 1.0, "max_tokens": 8,
        }
    ]  # fmt: skip


def test_another_server_is_sent_messages_and_its_text_is_tokenised_once_and_marked(
    model_dir: Path, log: Path
) -> None:
    with Server(vllm=False) as server, opened(model_dir, log, server.url) as sampler:
        found = sampler.sample(requests(1), PARAMS)
        assert sampler.engine_version == ""
    assert [s.text for s in found] == ["heard 0", "heard 1"]
    assert [s.retokenised for s in found] == [True, True]
    assert [s.logprobs for s in found] == [None, None]
    assert all(s.token_ids for s in found)
    assert [a["messages"] for a in server.asked] == [[{"role": "user", "content": "hi"}]] * 2
    assert "top_k" not in server.asked[0]


def test_a_gateway_that_takes_ids_and_returns_none_gives_marked_text(
    model_dir: Path, log: Path
) -> None:
    def bare(server: Server, body: dict[str, Any]) -> dict[str, Any]:
        return {"choices": [{"index": j, "text": "hi", "finish_reason": "length"}
                            for j in range(body["n"])]}  # fmt: skip

    with Server(bare) as server, opened(model_dir, log, server.url) as sampler:
        found = sampler.sample(requests(1), PARAMS)
    assert [(s.text, s.retokenised, s.finish_reason) for s in found] == [("hi", True, "length")] * 2


def test_greedy_samples_are_asked_for_once(model_dir: Path, log: Path) -> None:
    with Server() as server, opened(model_dir, log, server.url) as sampler:
        found = sampler.sample(requests(1, n=3), SamplingParams(max_tokens=8, temperature=0))
    assert [s.sample_idx for s in found] == [0, 1, 2]
    assert [a["n"] for a in server.asked] == [1]


def test_a_server_that_adds_to_the_prompt_is_refused(model_dir: Path, log: Path) -> None:
    def another(server: Server, body: dict[str, Any]) -> dict[str, Any]:
        answer = server.usual(body)
        for choice in answer["choices"]:
            choice["prompt_token_ids"] = [BOS, *body["prompt"]]
        return answer

    with (
        Server(another) as server,
        opened(model_dir, log, server.url) as sampler,
        pytest.raises(UserError, match="another prompt than it was given"),
    ):
        sampler.sample(requests(1), PARAMS)


# --- several endpoints ----------------------------------------------------------------------------


def test_the_least_loaded_endpoint_gets_the_next_call(model_dir: Path, log: Path) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        Server() as a,
        Server() as b,
        opened(model_dir, log, a.url, b.url) as sampler,
    ):
        in_step(a, b, calls=21)
        assert keys(pool.submit(sampler.sample, requests(200), PARAMS).result(60)) == wanted(200)
    assert len(a.asked) + len(b.asked) == 200
    assert min(len(a.asked), len(b.asked)) > 20


def test_an_endpoint_that_answers_nothing_yet_gets_no_more_than_its_first_calls(
    model_dir: Path, log: Path
) -> None:
    done = threading.Event()

    def count(server: Server, body: dict[str, Any]) -> None:
        if len(server.asked) == 200 - 16:
            done.set()

    with (
        ThreadPoolExecutor(1) as pool,
        Server() as slow,
        Server(count) as quick,
        opened(model_dir, log, slow.url, quick.url) as sampler,
    ):
        slow.held = lambda number: not done.is_set()
        asked = pool.submit(sampler.sample, requests(200), PARAMS)
        assert done.wait(60)
        slow.stir()
        assert keys(asked.result(60)) == wanted(200)
    assert (len(slow.asked), len(quick.asked)) == (16, 184)


def test_no_endpoint_gets_more_at_once_than_it_may(model_dir: Path, log: Path) -> None:
    with Server() as server, opened(model_dir, log, server.url, concurrency=5) as sampler:
        sampler.sample(requests(100), PARAMS)
    assert server.most_at_once <= 5


def test_an_endpoint_killed_half_way_loses_no_row_and_is_taken_back_when_it_lives(
    model_dir: Path, log: Path
) -> None:
    half = threading.Event()

    def owe(server: Server, body: dict[str, Any]) -> dict[str, Any] | None:
        if len(server.asked) < 30:
            return None
        half.set()
        return {"hang": True}

    with (
        ThreadPoolExecutor(1) as pool,
        Server() as a,
        Server(owe) as b,
        opened(model_dir, log, a.url, b.url) as sampler,
    ):
        in_step(a, b, calls=30)
        asked = pool.submit(sampler.sample, requests(400), PARAMS)
        assert half.wait(60)
        b.kill()
        assert keys(asked.result(60)) == wanted(400)
        assert f"{b.url} gets no calls until it is healthy" in log.read_text()
        with noted(f"{b.url} is healthy again") as healthy, Server(port=b.port) as again:
            assert healthy.wait(60)
            in_step(a, again, calls=11)
            asked = pool.submit(sampler.sample, requests(100), PARAMS)
            assert keys(asked.result(60)) == wanted(100)
            assert len(again.asked) > 10


def test_a_storm_of_429_slows_down_and_loses_nothing(model_dir: Path, log: Path) -> None:
    def storm(server: Server, body: dict[str, Any]) -> web.StreamResponse | None:
        if server.at_once > 3:
            return web.json_response({"error": "slow down"}, status=429,
                                     headers={"Retry-After": "0.05"})  # fmt: skip
        return None

    with Server(storm) as server, opened(model_dir, log, server.url) as sampler:
        server.held = lambda number: len(server.asked) < 16  # so many come at first
        assert keys(sampler.sample(requests(200), PARAMS)) == wanted(200)
        refused = len(server.asked) - 200
        assert 0 < refused < 200
        assert sampler._pool.all[0].healthy


def test_an_endpoint_that_hangs_is_left_and_its_calls_go_elsewhere(
    model_dir: Path, log: Path
) -> None:
    def hang(server: Server, body: dict[str, Any]) -> dict[str, Any]:
        server.healthy = False
        return {"hang": True}

    with (
        Server(hang) as bad,
        Server() as good,
        opened(model_dir, log, bad.url, good.url, timeout_s=0.5) as sampler,
    ):
        assert keys(sampler.sample(requests(60), PARAMS)) == wanted(60)
        assert "no answer in 0.5 s" in log.read_text()
        assert len(bad.asked) <= 16


def going_deaf(server: Server, body: dict[str, Any]) -> dict[str, Any] | None:
    """From its tenth call on a server accepts everything and answers nothing."""
    if len(server.asked) < 10:
        return None
    server.deaf = True
    return {"hang": True}


def not_listening(server: Server, body: dict[str, Any]) -> dict[str, Any] | None:
    """From its tenth call on a server answers nothing, and a new connection is refused."""
    if len(server.asked) < 10:
        return None
    if not server.deaf:
        server.leave()
    return {"hang": True}


def dead_inside(server: Server, body: dict[str, Any]) -> dict[str, Any] | None:
    """From its tenth call on a server answers nothing but that its engine is dead."""
    if len(server.asked) < 10:
        return None
    server.healthy = False
    return {"hang": True}


@pytest.mark.parametrize("vllm", [True, False])
@pytest.mark.parametrize("behave", [going_deaf, not_listening, dead_inside])
def test_what_an_endpoint_owes_goes_elsewhere_when_it_is_down_long_before_the_time_out(
    model_dir: Path, log: Path, behave: Any, vllm: bool
) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        Server(behave, vllm=vllm) as bad,
        Server(vllm=vllm) as good,
        opened(model_dir, log, bad.url, good.url, timeout_s=3600, health_s=0.3) as sampler,
    ):
        assert keys(pool.submit(sampler.sample, requests(60), PARAMS).result(60)) == wanted(60)
        assert f"endpoint {bad.url} is down" in log.read_text()


def test_a_slow_endpoint_that_answers_its_health_check_keeps_its_calls(
    model_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(server: Server, body: dict[str, Any]) -> dict[str, Any] | None:
        return {"hang": True} if server.checked < 8 else None

    with (
        ThreadPoolExecutor(1) as pool,
        Server(slow) as server,
        Server() as other,
        opened(model_dir, log, server.url, other.url, health_s=0.1) as sampler,
    ):
        wait_for_health_checks_of(monkeypatch, server, other)
        asked = pool.submit(sampler.sample, requests(60), PARAMS)
        assert server.until_checked(8)
        assert not asked.done()
        server.release()
        assert keys(asked.result(60)) == wanted(60)
    assert len(server.asked) + len(other.asked) == 60
    assert not log.exists()


def test_an_endpoint_that_was_down_is_taken_back_when_it_answers(
    model_dir: Path, log: Path
) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        Server(going_deaf) as bad,
        Server() as good,
        opened(model_dir, log, bad.url, good.url, timeout_s=3600, health_s=0.3) as sampler,
    ):
        assert keys(pool.submit(sampler.sample, requests(60), PARAMS).result(60)) == wanted(60)
        before, bad.behave = len(bad.asked), None
        bad.hear()
        until = time.monotonic() + 60
        while len(bad.asked) < before + 10 and time.monotonic() < until:
            sampler.sample(requests(20), PARAMS)
        assert len(bad.asked) >= before + 10


def test_errors_of_a_server_are_tried_elsewhere_and_end_after_some_attempts(
    model_dir: Path, log: Path
) -> None:
    def broken(server: Server, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": "worker died"}, status=500)

    with Server(broken) as bad, Server() as good:
        with opened(model_dir, log, bad.url, good.url) as sampler:
            assert keys(sampler.sample(requests(40), PARAMS)) == wanted(40)
        with (
            opened(model_dir, log, bad.url, attempts=2) as sampler,
            pytest.raises(StageFailed, match=r"failed 2 times; at last .* said 500: .*worker died"),
        ):
            sampler.sample(requests(1), PARAMS)


def test_when_nobody_answers_any_more_the_stage_fails_in_time(model_dir: Path, log: Path) -> None:
    with (
        Server() as server,
        opened(model_dir, log, server.url, stall_s=1.5, attempts=99) as sampler,
    ):
        server.kill()
        with pytest.raises(StageFailed, match=r"no endpoint answered for 1.5 s: .*not healthy"):
            sampler.sample(requests(3), PARAMS)


def test_closing_gives_up_what_is_in_flight(model_dir: Path, log: Path) -> None:
    reached = threading.Event()

    def hang(server: Server, body: dict[str, Any]) -> dict[str, Any]:
        reached.set()
        return {"hang": True}

    with (
        Server(hang) as server,
        opened(model_dir, log, server.url) as sampler,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(sampler.sample, requests(3), PARAMS)
        assert reached.wait(60)
        sampler.close()
        with pytest.raises(EngineClosed):
            asked.result(60)


def test_a_batch_that_comes_while_it_closes_is_refused_and_never_waits(
    model_dir: Path, log: Path
) -> None:
    class Late(list[SampleRequest]):
        def __bool__(self) -> bool:  # another thread closes the engine at this moment
            sampler.close()
            return True

    with Server() as server, opened(model_dir, log, server.url) as sampler:
        with pytest.raises(EngineClosed, match="is closed"):
            sampler.sample(Late(requests(1)), PARAMS)
        sampler.close()


# --- what the user has to mend --------------------------------------------------------------------


def test_a_server_that_is_told_messages_is_never_asked_without_any(
    model_dir: Path, log: Path
) -> None:
    turn = SampleRequest("p", [BOS, USER], 0, 1, 0)
    with Server(vllm=False) as server, opened(model_dir, log, server.url) as sampler:
        with pytest.raises(UserError, match="what is asked has none"):
            sampler.sample([turn], PARAMS)
        assert server.asked == []


def test_no_endpoint_at_all_is_the_users_error(model_dir: Path, log: Path) -> None:
    with pytest.raises(UserError, match="no endpoint answers") as caught:
        open_sampler("openai", model_dir, settings={"url": "http://127.0.0.1:9/v1"}, log=log)
    assert caught.value.next == "curl http://127.0.0.1:9/v1/models"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"urls": ["http://x/v1"], "temprature": 1}, "sampling.settings.temprature"),
        ({}, "sampling.settings.urls"),
        ({"urls": ["http://x/v1"], "api_key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
    ],
)
def test_a_refused_setting_is_named(
    model_dir: Path, log: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        open_sampler("openai", model_dir, settings=settings, log=log)


def test_a_wrong_key_says_which_setting_holds_it_and_never_the_key(
    model_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOL_KEY", "very-secret")

    def closed(server: Server, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": "bad key very-secret"}, status=401)

    with (
        Server(closed) as server,
        opened(model_dir, log, server.url, api_key_env="POOL_KEY") as sampler,
        pytest.raises(UserError, match=r"bad key \*\*\*") as caught,
    ):
        sampler.sample(requests(1), PARAMS)
    assert "api_key_env" in caught.value.next
    assert not log.exists() or "very-secret" not in log.read_text()


def test_a_wait_is_read_as_seconds_and_as_a_date() -> None:
    assert retry_after("2.5") == 2.5
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after("soon") is None and retry_after(None) is None


# --- the real thing -------------------------------------------------------------------------------


@contextmanager
def vllm_server(model_dir: Path, folder: Path) -> Iterator[str]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        **os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "TORCHDYNAMO_DISABLE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }  # fmt: skip
    with (folder / "server.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model_dir),
             "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager",
             "--max-model-len", "96", "--served-model-name", "tiny",
             "--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"],
            env=env, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}/v1"
    try:
        until = time.monotonic() + 400
        while time.monotonic() < until and process.poll() is None:
            try:
                if httpx.get(f"{url}/models", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(1)
        else:
            pytest.fail((folder / "server.log").read_text()[-3000:])
        yield url
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


@pytest.mark.slow
@pytest.mark.vllm
def test_a_real_vllm_server_gives_the_ids_and_logprobs_of_the_offline_engine(
    model_dir: Path, tmp_path: Path, log: Path
) -> None:
    asked = requests(8, n=3)
    greedy = SamplingParams(max_tokens=20, temperature=0)
    drawn = SamplingParams(max_tokens=20, temperature=1.0, top_k=50)
    with (
        vllm_server(model_dir, tmp_path) as url,
        opened(model_dir, log, url, concurrency=1) as sampler,
    ):
        assert sampler.engine_version.startswith("vllm ")
        assert sampler.max_model_len == 96
        served = [sampler.sample(asked, params) for params in (greedy, drawn)]
    offline = open_sampler("vllm", model_dir, log=tmp_path / "offline.log", max_model_len=96)
    alone = [[s for r in asked for s in offline.sample([r], params)] for params in (greedy, drawn)]
    offline.close()
    for theirs, ours in zip(served, alone, strict=True):
        for one, other in zip(theirs, ours, strict=True):
            assert (one.prompt_id, one.sample_idx) == (other.prompt_id, other.sample_idx)
            assert one.token_ids == other.token_ids
            assert one.text == other.text and one.finish_reason == other.finish_reason
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
