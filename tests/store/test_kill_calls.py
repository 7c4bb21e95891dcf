"""The plug is pulled, again and again, while paid calls run: nothing received is lost (law 9).

The judge verb, its client and the store are the real ones; the vendor is a server on loopback that
bills once for each idempotency key.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from factory.rows import bucket_of, completion_id_of, prompt_id_of, text_hash
from factory.store import Store, integrity, open_store

CONCURRENCY = 16
ASPECTS = 4
"""Calls a completion of the judge `ultrafeedback`."""

JUDGE = """
import sys
from pathlib import Path
from factory.judging.verb import judge
from factory.recipe import Endpoint, Price
from factory.recipe.model import Judging
from factory.store import open_store
workspace, ledger, url = sys.argv[1:]
store = open_store(Path(workspace), ledger_url=ledger)
endpoint = Endpoint(
    base_url=url, model="the-judge", max_concurrency=16, price=Price(input=1.0, output=2.0)
)
section = Judging(
    judges=("ultrafeedback",), endpoints={"main": endpoint}, shard=100, budget_usd=1000.0
)
ids = [r["completion_id"] for r in store.rows("select completion_id from completions order by 1")]
judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
"""


def _server() -> ModuleType:
    path = Path(__file__).parent.parent / "judging" / "server.py"
    spec = importlib.util.spec_from_file_location("billing_server", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _fill(store: Store, count: int) -> None:
    prompts: list[dict[str, object]] = []
    completions: list[dict[str, object]] = []
    for number in range(count):
        messages = [{"role": "user", "content": f"Question {number}?"}]
        prompt_id, text = prompt_id_of(messages), f"Answer {number}."
        identity = completion_id_of(
            prompt_id=prompt_id, model_id="m", params_id="p", sample_idx=0, seed=0
        )
        shared = {"prompt_id": prompt_id, "bucket": bucket_of(prompt_id)}
        content = f'[{{"role": "user", "content": "Question {number}?"}}]'
        prompts.append({**shared, "pool": "p", "messages": content})
        completions.append(
            {
                **shared, "completion_id": identity, "model_id": "m", "params_id": "p",
                "sample_idx": 0, "seed": 0, "text": text, "text_hash": text_hash(text),
                "finish_reason": "stop", "origin": "sampled",
            }
        )  # fmt: skip
    store.append("prompts", prompts, run_id="r")
    store.append("completions", completions, run_id="r")


class Plug:
    """Kills the process that judges, a moment after a number of answers were billed."""

    def __init__(self, seed: int, calls: int, kills: int) -> None:
        self.lot = random.Random(seed)
        self.step = max(2, int(calls / (kills + 1)))
        self.process: subprocess.Popen[bytes] | None = None
        self.at: int | None = None

    def arm(self, process: subprocess.Popen[bytes], billed: int) -> None:
        self.process = process
        self.at = billed + self.lot.randint(1, self.step)

    def answered(self, billed: int) -> None:
        """Told before each answer leaves: some of these kills hit a commit, some an answer."""
        if self.at is not None and billed >= self.at and self.process is not None:
            self.at = None
            process, wait = self.process, self.lot.choice([0.0, 0.0, 0.01, 0.05, 0.2])
            threading.Timer(wait, lambda: process.send_signal(signal.SIGKILL)).start()


def _run_with_kills(store: Store, *, calls: int, kills: int) -> tuple[Any, int, Counter[str]]:
    """Judge in spite of kills; gives the server, the kills, and the tries of kept answers."""
    module = _server()
    plug = Plug(seed=kills, calls=calls, kills=kills)
    server = module.Server()
    answer = server.brain

    def brain(body: Any) -> str:
        plug.answered(len(server.billed))
        return answer(body)

    server.brain = brain
    kept: Counter[str] = Counter()
    done = 0
    with module.serving(server):
        while True:
            command = [sys.executable, "-c", JUDGE, str(store.workspace)]
            process = subprocess.Popen([*command, store.ledger.url, server.url], env=os.environ)
            if done < kills:
                plug.arm(process, len(server.billed))
            code = process.wait()
            if code == 0:
                break
            assert code == -signal.SIGKILL, code
            done += 1
            plug.at = None
            rows = store.ledger.table("calls", without=("response",))
            for row in rows:
                if row["state"] == "done":
                    kept.setdefault(row["call_id"], server.tries[row["call_id"]])
    return server, done, kept


def _check(store: Store, *, calls: int, kills: int) -> None:
    server, done, kept = _run_with_kills(store, calls=calls, kills=kills)
    # Every answer became exactly one row, whole.
    (found,) = store.rows(
        "select count(*) n, count(distinct judgement_id) d, count(*) filter (status = 'ok') ok, "
        "count(distinct call_id) c from judgements"
    )
    assert found == {"n": calls, "d": calls, "ok": calls, "c": calls}
    # An answer that was in the ledger when the plug was pulled was never asked for again.
    assert all(server.tries[key] == tries for key, tries in kept.items())
    # What was in flight was sent again under its own key, and billed once.
    resent = server.tries.total() - len(server.tries)
    assert resent <= CONCURRENCY * done
    assert len(server.billed) == len(server.tries) == calls
    # And the money adds up.
    assert [f.said for f in integrity.check_ledger(store) if f.state == "bad"] == []
    budget = store.ledger.budget("r")
    assert budget is not None
    assert budget["reserved_microusd"] == 0
    print(f"{done} kills, {calls} calls, {len(kept)} kept at kills, {resent} sent again")
    assert done >= kills - 2


def test_pulling_the_plug_loses_no_answer_and_pays_none_twice(
    ledger_url: str, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "ws", ledger_url=ledger_url, create=True)
    _fill(store, 150)
    _check(store, calls=150 * ASPECTS, kills=4)
    store.close()


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_100_kills_over_20000_paid_calls_lose_none(ledger_url: str, tmp_path: Path) -> None:
    store = open_store(tmp_path / "ws", ledger_url=ledger_url, create=True)
    _fill(store, 5000)
    kills = 30 if store.ledger.postgres else 100
    _check(store, calls=5000 * ASPECTS, kills=kills)
    store.close()
