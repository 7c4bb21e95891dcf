"""Judges of our own: a real vLLM server is started for weights in a directory, and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from factory.errors import UserError
from factory.judging.local.servers import command_of, directory_of
from factory.judging.local.weights import digest
from factory.judging.sources import source_for
from factory.judging.verb import judge
from factory.recipe import Endpoint
from factory.recipe.model import Judging
from factory.store import Store
from tests.sampling.conftest import write_model

SETTINGS: dict[str, Any] = {
    "dtype": "float32", "max_model_len": 4096, "enforce_eager": True, "max_num_seqs": 8,
}  # fmt: skip


def _model(path: Path, *, seed: int) -> Path:
    write_model(path, seed=seed)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return path


def _section(model: Path | str, **more: Any) -> Judging:
    endpoint = Endpoint(model=str(model), settings=SETTINGS, **more)
    return Judging(judges=("short",), endpoints={"mine": endpoint}, budget_usd=1.0)


SHORT = """---
kind: pointwise
description: A short rubric
scale: {min: 1, max: 5}
parser: rating
max_tokens: 8
---
Rate. {{ prompt }} {{ completion }}
"""


@pytest.fixture
def short(store: Store) -> Store:
    (store.workspace / "judges").mkdir()
    (store.workspace / "judges" / "short.md").write_text(SHORT)
    return store


def test_a_judge_of_our_own_is_its_weights(short: Store, tmp_path: Path) -> None:
    one, two = _model(tmp_path / "one", seed=0), _model(tmp_path / "two", seed=1)
    first = source_for(short, "short", _section(one))
    assert first.endpoint is not None and first.endpoint.model == digest(one)
    assert source_for(short, "short", _section(two)).judge_id != first.judge_id
    moved = one.rename(tmp_path / "moved")
    assert source_for(short, "short", _section(moved)).judge_id == first.judge_id
    other = Endpoint(model=str(moved), settings=SETTINGS | {"dtype": "bfloat16"})
    section = Judging(judges=("short",), endpoints={"mine": other})
    assert source_for(short, "short", section).judge_id != first.judge_id
    wider = Endpoint(model=str(moved), settings=SETTINGS | {"max_num_seqs": 64})
    section = Judging(judges=("short",), endpoints={"mine": wider})
    assert source_for(short, "short", section).judge_id == first.judge_id


def test_a_model_that_is_nowhere_is_one_sentence(short: Store) -> None:
    with pytest.raises(UserError, match=r"there is no model directory \./nothing"):
        source_for(short, "short", _section("./nothing"))
    with pytest.raises(UserError, match="neither a directory nor to be had from the hub"):
        directory_of("nobody/no-such-model", workspace=short.workspace)


def test_settings_are_the_servers_own_options() -> None:
    endpoint = Endpoint(
        model="abc", settings=SETTINGS | {"hf_overrides": {"a": 1}, "enable_prefix_caching": False}
    )
    command = command_of(endpoint, Path("/models/judge"), port=1234)
    said = " ".join(command[1:])
    assert "--model /models/judge --served-model-name abc --host 127.0.0.1 --port 1234" in said
    assert "--max-model-len 4096 --enforce-eager" in said
    assert said.endswith('--hf-overrides {"a": 1} --no-enable-prefix-caching')


def test_a_kept_command_ends_with_whoever_needs_it() -> None:
    code = (
        "import subprocess, sys, time\n"
        "k = subprocess.Popen([sys.executable, '-m', 'factory.judging.local.keeper',"
        " sys.executable,"
        " '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'],"
        " stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    kept = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    psutil.wait_procs([kept], timeout=60)
    assert not kept.is_running()


def test_a_kept_command_ends_with_its_keeper_too() -> None:
    command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); "
               "time.sleep(600)"]  # fmt: skip
    keeper = subprocess.Popen(
        [sys.executable, "-m", "factory.judging.local.keeper", *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert keeper.stdout is not None
    kept = psutil.Process(int(keeper.stdout.readline()))
    keeper.kill()
    keeper.communicate()
    psutil.wait_procs([kept], timeout=60)
    assert not kept.is_running() or kept.status() == psutil.STATUS_ZOMBIE


def _servers() -> list[str]:
    found = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    return [line for line in found if "vllm.entrypoints" in line]


@pytest.mark.slow
@pytest.mark.vllm
def test_a_server_is_started_asked_and_ended(
    short: Store, fill: Callable[..., list[str]], tmp_path: Path
) -> None:
    model = _model(tmp_path / "judge", seed=0)
    before = _servers()
    ids = fill(short, [("What is two?", ["Two.", "Three."]), ("What is four?", ["Four."])])
    report = judge(short, judges=["short"], completion_ids=ids, judging=_section(model), run_id="r")
    rows = short.rows("select * from judgements where judge = 'short'")
    assert report.judges[0].paid_calls == len(rows) == 3
    # A random model says nothing that could be parsed; what it said is kept all the same.
    assert {r["status"] for r in rows} <= {"ok", "unparsed", "truncated"}
    assert {r["judge_model_id"] for r in rows} == {r["model_reported"] for r in rows}
    assert {r["judge_model_id"] for r in rows} == {digest(model)}
    assert all(r["tokens_out"] > 0 and r["cost_microusd"] == 0 for r in rows)
    assert _servers() == before
    (log,) = (short.workspace / "runs" / "r" / "log").glob("server-*.log")
    assert "Application startup complete" in log.read_text()
    leases = short.ledger.table("leases")
    assert [row for row in leases if row["name"].startswith("device:")] == []
    again = judge(short, judges=["short"], completion_ids=ids, judging=_section(model), run_id="r")
    assert again.made == 0
    broken = _section(model, start_timeout_s=300)
    endpoint = broken.endpoints["mine"].model_copy(update={"settings": {"max_model_len": "many"}})
    (tmp_path / "judge" / "tokenizer_config.json").write_text("{}")  # other bytes: other rows
    section = broken.model_copy(update={"endpoints": {"mine": endpoint}})
    with pytest.raises(UserError, match="the judge's server ended with"):
        judge(short, judges=["short"], completion_ids=ids, judging=section, run_id="r")
