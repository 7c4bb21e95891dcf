"""Engines in processes of their own: exact ids, and no process left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from factory.errors import StageFailed, UserError
from factory.rows import SamplingParams
from factory.sampling import base
from factory.sampling.base import Sampled, Sampler, SampleRequest, open_sampler
from factory.sampling.engines import process
from factory.sampling.engines.echo import EchoSampler
from factory.sampling.engines.process import ProcessSampler, child_environment
from factory.sampling.faults import EngineClosed, OutOfMemory
from factory.sampling.requests import Terms
from tests.sampling.conftest import ASSISTANT, BOS, END, EOS, USER

Key = tuple[str, int]


def requests(*, n: int = 4, first_idx: int = 0) -> list[SampleRequest]:
    """Five prompts of different lengths."""
    return [
        SampleRequest(
            f"p{i}", [BOS, USER, *range(50, 51 + 3 * i), END, ASSISTANT], first_idx, n,
            1000 * i + first_idx,
        )
        for i in range(5)
    ]  # fmt: skip


def by_key(samples: Sequence[Sampled]) -> dict[Key, Sampled]:
    found = {(s.prompt_id, s.sample_idx): s for s in samples}
    assert len(found) == len(samples)
    return found


def reference_logprobs(model_dir: Path, prompt: list[int], ids: list[int]) -> list[float]:
    """What transformers itself gives the sampled ids at temperature 1."""
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(str(model_dir), dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)].tolist()


def open_on(
    engine: str, model_dir: Path, log: Path, *, stall_s: float = 900, **settings: object
) -> Any:
    return open_sampler(
        engine, model_dir, settings=settings, log=log, max_model_len=96, stall_s=stall_s
    )


@pytest.fixture(
    scope="module", params=["transformers", pytest.param("vllm", marks=pytest.mark.vllm)]
)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def log(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / f"{engine}.log"


@pytest.fixture(scope="module")
def sampler(engine: str, model_dir: Path, log: Path) -> Iterator[Sampler]:
    opened = open_on(engine, model_dir, log)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def whole(sampler: Sampler) -> dict[Key, Sampled]:
    return by_key(sampler.sample(requests(), SamplingParams(max_tokens=40)))


# --- exactness ------------------------------------------------------------------------------------


def test_every_sample_of_every_prompt_comes_back_with_its_index(
    sampler: Sampler, whole: dict[Key, Sampled]
) -> None:
    assert set(whole) == {(f"p{i}", j) for i in range(5) for j in range(4)}
    assert len({tuple(s.token_ids) for s in whole.values()}) > 15
    assert sampler.max_model_len == 96


def test_the_same_weights_and_request_give_the_same_ids_in_a_new_engine(
    engine: str, model_dir: Path, log: Path, whole: dict[Key, Sampled]
) -> None:
    again = open_on(engine, model_dir, log)
    assert by_key(again.sample(requests(), SamplingParams(max_tokens=40))) == whole
    again.close()


def test_a_sample_is_the_same_alone_and_with_its_siblings(
    sampler: Sampler, whole: dict[Key, Sampled]
) -> None:
    params = SamplingParams(max_tokens=40)
    rest = by_key(sampler.sample(requests(first_idx=2, n=2), params))
    alone = by_key(sampler.sample(requests(first_idx=3, n=1)[2:3], params))
    for key, sample in (rest | alone).items():
        assert sample.token_ids == whole[key].token_ids


def test_logprobs_are_those_of_the_unmodified_distribution(
    sampler: Sampler, model_dir: Path
) -> None:
    params = SamplingParams(max_tokens=12, temperature=0.5, top_p=0.8, repetition_penalty=1.3)
    for request, sample in zip(requests(n=1), sampler.sample(requests(n=1), params), strict=True):
        expected = reference_logprobs(model_dir, request.prompt_token_ids, sample.token_ids)
        assert sample.logprobs == pytest.approx(expected, abs=1e-4)


def test_a_sampled_stop_token_is_kept_and_its_text_is_not(whole: dict[Key, Sampled]) -> None:
    stopped = [s for s in whole.values() if s.finish_reason == "stop"]
    cut = [s for s in whole.values() if s.finish_reason == "length"]
    assert stopped
    assert cut
    for sample in stopped:
        # END is a stop token only in generation_config.json, EOS in the tokenizer as well.
        assert sample.token_ids[-1] in {EOS, END}
        assert not {EOS, END} & set(sample.token_ids[:-1])
        assert "<" + "/s>" not in sample.text
    assert all(len(s.token_ids) == 40 for s in cut)
    assert not any({EOS, END} & set(s.token_ids) for s in cut)


def test_greedy_samples_are_the_likeliest_tokens_and_all_alike(
    sampler: Sampler, model_dir: Path
) -> None:
    samples = sampler.sample(requests(n=3)[:1], SamplingParams(max_tokens=6, temperature=0))
    assert [s.sample_idx for s in samples] == [0, 1, 2]
    assert len({tuple(s.token_ids) for s in samples}) == 1
    top_1 = sampler.sample(requests(n=1)[:1], SamplingParams(max_tokens=6, top_k=1))
    assert top_1[0].token_ids == samples[0].token_ids


def test_a_stop_string_ends_the_text_before_it_and_keeps_every_sampled_id(
    sampler: Sampler, whole: dict[Key, Sampled]
) -> None:
    letters = {k: [c for c in s.text[3:] if c in "aehlopst"] for k, s in whole.items()}
    key = max(letters, key=lambda k: len(letters[k]))
    stop = letters[key][0]
    asked = [r for r in requests(n=1, first_idx=key[1]) if r.prompt_id == key[0]]
    found = sampler.sample(asked, SamplingParams(max_tokens=40, stop=(stop,)))[0]
    assert found.finish_reason == "stop"
    assert stop not in found.text
    assert whole[key].text.startswith(found.text)
    assert found.token_ids == whole[key].token_ids[: len(found.token_ids)]


def test_a_stop_string_that_is_a_special_token_stops_and_stays_in_the_ids(
    sampler: Sampler, whole: dict[Key, Sampled]
) -> None:
    key = next(k for k, s in sorted(whole.items()) if USER in s.token_ids[:-1])
    asked = [r for r in requests(n=1, first_idx=key[1]) if r.prompt_id == key[0]]
    found = sampler.sample(asked, SamplingParams(max_tokens=40, stop=("<|user|>",)))[0]
    ids = whole[key].token_ids
    assert found.token_ids == ids[: ids.index(USER) + 1]
    assert (found.finish_reason, "<|user|>" in found.text) == ("stop", False)


def test_nothing_asked_is_nothing_answered(sampler: Sampler) -> None:
    assert sampler.sample([], SamplingParams()) == []


# --- processes ------------------------------------------------------------------------------------


def gone(pid: int, *, within: float = 30) -> bool:
    """Wait for a process that need not be our child to end."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], within)[0])
    finally:
        os.close(pidfd)


def test_an_engine_that_dies_fails_the_stage_and_names_its_log(
    engine: str, model_dir: Path, tmp_path: Path
) -> None:
    log = tmp_path / "engine.log"
    opened = open_on(engine, model_dir, log)
    os.kill(opened.pid, signal.SIGKILL)
    with pytest.raises(StageFailed) as caught:
        opened.sample(requests(), SamplingParams())
    assert str(log) in str(caught.value)
    assert "killed from outside (signal 9)" in str(caught.value)
    opened.close()
    with pytest.raises(StageFailed, match="closed"):
        opened.sample(requests(), SamplingParams())


def test_a_model_that_cannot_be_loaded_shows_the_end_of_the_log(
    engine: str, own_model: Path, tmp_path: Path
) -> None:
    (own_model / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(StageFailed) as caught:
        open_on(engine, own_model, tmp_path / "engine.log")
    assert "Traceback" in (tmp_path / "engine.log").read_text()
    assert str(tmp_path / "engine.log") in str(caught.value)


def test_an_unknown_engine_setting_is_an_error_with_its_name(
    engine: str, model_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="has no setting 'no_such_setting'"):
        open_on(engine, model_dir, tmp_path / "engine.log", no_such_setting=1)


@pytest.mark.parametrize(
    ("engine", "setting"),
    [
        ("transformers", {"attn_implementation": "no_such_one"}),
        pytest.param("vllm", {"max_num_seqs": 0}, marks=pytest.mark.vllm),
    ],
)
def test_a_value_that_an_engine_refuses_is_the_users_to_mend_and_not_tried_again(
    engine: str, setting: dict[str, object], model_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"the {engine} engine refuses") as caught:
        open_on(engine, model_dir, tmp_path / "engine.log", **setting)
    assert "sampling.settings" in caught.value.next


PARENT = """
import os, sys
from pathlib import Path
from factory.sampling.base import open_sampler
sampler = open_sampler("transformers", Path(sys.argv[1]), settings={}, log=Path(sys.argv[2]))
print(sampler._pid, sampler._server.process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd")
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_no_engine_outlives_a_parent_that_was_killed(
    model_dir: Path, tmp_path: Path, death: signal.Signals
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(model_dir), str(tmp_path / "log")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdin and parent.stdout
    child, server = map(int, parent.stdout.readline().split())
    parent.send_signal(death)
    parent.wait()
    assert gone(server)
    assert gone(child)
    parent.stdin.close()
    parent.stdout.close()


LEAVER = """#!{python}
import os, sys, time, types
from factory.sampling import worker

class Backend:
    version, max_model_len, batch_size = "1", 96, 1
    def generate(self, requests, params, *, tick):
        os.kill(os.getpid(), 9)

def load(model, **_):
    left = os.fork()  # as an engine's own workers: it holds the pipes open
    if not left:
        time.sleep(600)
        os._exit(0)
    print("left", left, flush=True)
    return Backend()

engine = types.ModuleType("factory.sampling.engines.leaver")
engine.preload, engine.load = lambda: None, load
sys.modules[engine.__name__] = engine
worker.main("leaver", int(sys.argv[-2]), int(sys.argv[-1]))
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd")
def test_an_engine_that_dies_is_noticed_at_once_and_takes_what_it_had_started_along(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, log = tmp_path / "python", tmp_path / "engine.log"
    python.write_text(LEAVER.replace("{python}", sys.executable))
    python.chmod(0o755)
    monkeypatch.setattr(process.sys, "executable", str(python))
    monkeypatch.setenv("PYTHONPATH", str(Path(base.__file__).parents[2]))
    terms = Terms(log=log, stall_s=20)
    opened = ProcessSampler("leaver", model_dir, settings={}, terms=terms)
    try:
        with pytest.raises(StageFailed, match=r"killed from outside \(signal 9\)"):
            opened.sample(requests(), SamplingParams())
        left = next(w for w in log.read_text().splitlines() if w.startswith("left "))
        assert gone(int(left.split()[1]))
    finally:
        opened._server.close()
        process._servers.pop("leaver")


def test_closing_ends_the_process(engine: str, model_dir: Path, log: Path) -> None:
    opened: ProcessSampler = open_on(engine, model_dir, log)
    pid = opened.pid
    assert pid is not None
    opened.close()
    opened.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_running_out_of_memory_is_recognised_and_says_what_to_lower(
    model_dir: Path, tmp_path: Path
) -> None:
    log = tmp_path / "engine.log"
    opened = open_on("transformers", model_dir, log)
    with log.open("a") as out:
        out.write("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")
    os.kill(opened.pid, signal.SIGKILL)
    with pytest.raises(OutOfMemory, match="ran out of memory") as caught:
        opened.sample(requests(), SamplingParams())
    assert "batch_size lower" in caught.value.next
    # The next engine of the same log is not blamed for the last one's words.
    again = open_on("transformers", model_dir, log)
    os.kill(again.pid, signal.SIGKILL)
    with pytest.raises(StageFailed, match="killed from outside"):
        again.sample(requests(), SamplingParams())


def test_a_prompt_that_alone_is_too_much_is_not_tried_with_less(
    model_dir: Path, tmp_path: Path
) -> None:
    log = tmp_path / "engine.log"
    opened = open_on("transformers", model_dir, log)
    with log.open("a") as out:
        out.write("ValueError: the model's max seq len is larger than the available KV cache\n")
    os.kill(opened.pid, signal.SIGKILL)
    with pytest.raises(UserError, match="ran out of memory") as caught:
        opened.sample(requests(), SamplingParams())
    assert not isinstance(caught.value, OutOfMemory)


def test_an_engine_that_hangs_in_a_batch_is_ended(model_dir: Path, tmp_path: Path) -> None:
    opened = open_on("transformers", model_dir, tmp_path / "log", stall_s=1.0)
    pid = opened.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(StageFailed, match="made no step for 1 s and was ended"):
        opened.sample(requests(), SamplingParams())
    assert opened.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_batch_longer_than_the_patience_is_not_ended_while_it_steps(
    sampler: ProcessSampler, whole: dict[Key, Sampled]
) -> None:
    before, sampler._stall_s = sampler._stall_s, 4.0
    many = [
        SampleRequest(f"p{i}", [BOS, USER, 50, END, ASSISTANT], 0, 4, 1000 * i) for i in range(100)
    ]
    assert len(sampler.sample(many, SamplingParams(max_tokens=90))) == 400
    sampler._stall_s = before


def test_closing_from_another_thread_ends_a_batch_that_hangs(
    model_dir: Path, tmp_path: Path
) -> None:
    opened = open_on("transformers", model_dir, tmp_path / "log")
    os.kill(opened.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(opened.sample, requests(), SamplingParams())
        while not asked.done() and opened._lock.acquire(blocking=False):
            opened._lock.release()
        opened.close()
        with pytest.raises(EngineClosed):
            asked.result(timeout=60)


def test_the_batch_is_halved_when_memory_runs_out(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from factory.sampling.engines.transformers import TransformersBackend

    backend = TransformersBackend(model_dir, settings={"dtype": "float32"}, max_model_len=96)
    params = SamplingParams(max_tokens=5)
    whole = by_key(backend.generate(requests(), params))
    real, sizes = backend._batch, []

    def small(batch: Any, params: SamplingParams) -> Any:
        sizes.append(len(batch))
        if len(batch) > 8:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return real(batch, params)

    monkeypatch.setattr(backend, "_batch", small)
    halved = by_key(backend.generate(requests(), params))
    assert sizes == [20, 20, 16, 8, 8, 4]
    assert {k: s.token_ids for k, s in halved.items()} == {k: s.token_ids for k, s in whole.items()}
    assert "batch_size is now 8" in capfd.readouterr().out


def test_no_secret_reaches_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, "secret")
    given = child_environment()
    assert "secret" not in given.values()
    assert given["VLLM_NO_USAGE_STATS"] == given["DO_NOT_TRACK"] == given["HF_HUB_OFFLINE"] == "1"


# --- choosing an engine ---------------------------------------------------------------------------


def test_auto_is_vllm_where_it_can_run_and_else_transformers_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(base, "_has_gpu", lambda: False)
    monkeypatch.setattr(base, "_has_avx2", lambda: True)
    assert base.resolve_engine("auto") == "vllm"
    assert not caplog.records
    monkeypatch.setattr(base, "_has_avx2", lambda: False)
    assert base.resolve_engine("auto") == "transformers"
    assert "no AVX2" in caplog.text


def test_an_unknown_engine_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UserError, match="auto, echo, openai, ray, transformers, vllm"):
        base.resolve_engine("vlm")


def test_the_echo_is_deterministic_and_says_only_what_it_heard() -> None:
    heard = [ord(c) for c in "hello"]
    request = SampleRequest("p", heard, 0, 50, 3)
    first, second = (EchoSampler().sample([request], SamplingParams()) for _ in range(2))
    assert first == second
    assert len({s.text for s in first}) > 5
    assert all(s.text in "hello" for s in first)
    assert {s.finish_reason for s in first} == {"stop"}
