"""What sampling costs beside bare vLLM: one table, or `--json`.

`prefactory sample` and a bare `vllm.LLM.generate` take turns on the same prompts with the same
settings, seeds and batches, so that noise hits both; the start of the engines is shown apart. The
bare side keeps what vLLM returns and stores nothing. `--peers DIR` makes an environment for
distilabel there (once) and gives its vLLM step turns as well, where it can be installed and loaded.

Memory is of `prefactory sample` on 10,000 and on 100,000 prompts with the echo engine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.prompting.cleaning.cleaner import CleanSettings, open_cleaner
from factory.prompting.ingest import add_prompts
from factory.recipe import Sampling
from factory.rows import base_seed
from factory.sampling.render import renderer_for
from factory.sampling.verb import Shard, plan
from factory.stages import models
from factory.stages.crew import Crew
from factory.store import Store, open_store
from factory.training.starter import StarterSpec, make_starter

HERE = Path(__file__).resolve().parent
CONSTRAINTS = HERE.parent / "constraints.txt"
TURN = 256
"""Prompts a turn, whose samples are one shard and one call of `generate`."""
ENGINE = {
    "enforce_eager": True, "enable_chunked_prefill": False, "max_num_batched_tokens": 8192,
    "dtype": "float32", "seed": 0, "logprobs_mode": "raw_logprobs",
}  # fmt: skip
"""What the bare engine is given on a CPU: the settings that ours has there."""
QUIET = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1",
    "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip
Line = tuple[str, float, str]


# --- the other side ------------------------------------------------------------------------------


def bare(model: str) -> None:
    """A loop over `LLM.generate`: one JSON line in, one out, until standard input ends."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import vllm

    began = time.perf_counter()
    llm = vllm.LLM(model=model, **ENGINE)
    _say(told, {"seconds": time.perf_counter() - began})
    for line in sys.stdin:
        asked = json.loads(line)
        extra: list[dict[str, Any]] = [
            {"logprobs": 0, "seed": seed} if asked["exact"] else {} for seed in asked["seeds"]
        ]
        params = [
            vllm.SamplingParams(n=asked["n"], max_tokens=asked["max_tokens"], **e) for e in extra
        ]
        prompts: list[Any] = [{"prompt_token_ids": ids} for ids in asked["prompts"]]
        began = time.perf_counter()
        found = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - began
        tokens = sum(len(o.token_ids) for output in found for o in output.outputs)
        _say(told, {"seconds": seconds, "tokens": tokens})


def _say(told: Any, value: dict[str, float]) -> None:
    told.write(json.dumps(value) + "\n")
    told.flush()


class Other:
    """A side in a process of its own."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out,
                env={**os.environ, **QUIET}, text=True,
                # As our engine is: a kernel that shares time by session shares it alike.
                start_new_session=True,
            )  # fmt: skip
        self.start = self._read()["seconds"]

    def turn(self, asked: dict[str, Any]) -> dict[str, float]:
        """Seconds and tokens of one turn."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        return json.loads(line)


# --- our side ------------------------------------------------------------------------------------


class Ours:
    """A workspace with prompts and a model, and the crew that `prefactory sample` has."""

    def __init__(self, folder: Path, *, prompts: int, settings: dict[str, Any]) -> None:
        self.store: Store = open_store(folder / "ws", create=True)
        pool = folder / "pool.jsonl"
        make(pool, prompts + TURN)
        add_prompts(self.store, pool, pool="bench", run_id="bench", gate=0.0, dev=0.0)
        self.model = folder / "model"
        spec = StarterSpec(hidden_size=256, layers=4, heads=4, intermediate_size=768)
        make_starter(self.model, spec=spec, seed=1)
        self.model_id = models.register(self.store, self.model, kind="policy", run_id="bench")
        self.settings = Sampling.model_validate({"engine": "vllm", **settings})
        self.log = folder / "engine.log"

    def shards(self, *, first: int, prompts: int, seed: int = 0) -> list[Shard]:
        """Shards of some of the prompts, `TURN` prompts each."""
        rows = self.store.rows(
            "select prompt_id from prompts order by 1 limit $n offset $first",
            {"n": prompts, "first": first},
        )
        params = self.settings.params()
        draw = {
            "model_id": self.model_id, "params_id": params.params_id, "seed": seed,
            "n": self.settings.n, "prompt_ids": [r["prompt_id"] for r in rows],
        }  # fmt: skip
        return plan(
            self.store, draws=[draw], params=params, model_dir=self.model, run_id="bench",
            shard_size=TURN * self.settings.n,
        )  # fmt: skip

    def asked(self, shard: Shard, *, exact: bool) -> dict[str, Any]:
        """The same work in the words of the other side."""
        renderer = renderer_for(self.model, engine="vllm")
        ids = [w.prompt_id for w in shard.wanted]
        texts = self.store.rows(
            "select prompt_id, messages from prompts where list_contains($ids, prompt_id)",
            {"ids": ids},
        )
        messages = {r["prompt_id"]: json.loads(r["messages"]) for r in texts}
        common = {"model_id": self.model_id, "params_id": shard.params.params_id}
        return {
            "n": self.settings.n,
            "max_tokens": self.settings.max_tokens,
            "exact": exact,
            "messages": [messages[i] for i in ids],
            "prompts": [renderer.render(messages[i]) for i in ids],
            "seeds": [base_seed(prompt_id=i, seed=shard.seed, **common) for i in ids],
        }

    @contextmanager
    def crew(self, **settings: Any) -> Iterator[Crew]:
        """The engines, as `prefactory sample` opens them."""
        given = self.settings.model_copy(update=settings)
        crew = Crew(self.store, given, run_id="bench", log=lambda _: self.log, note=lambda _: None)
        try:
            yield crew
        finally:
            crew.close()


def tokens_of(store: Store, shards: Sequence[Shard]) -> int:
    """Output tokens of the shards, as the lake has them."""
    ids = [shard.shard_id for shard in shards]
    (row,) = store.rows(
        "select sum(n_tokens)::bigint as n from completions where list_contains($ids, shard_id)",
        {"ids": ids},
    )
    return int(row["n"])


def make(path: Path, count: int) -> None:
    """Prompts of 5 to 15 words, all different, always the same."""
    order = random.Random(count)
    words = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "rd", "lm")]
    with path.open("w") as out:
        for number in range(count):
            text = " ".join(order.choices(words, k=order.randint(5, 15)))
            out.write(json.dumps({"prompt": f"{number} {text}"}) + "\n")


# --- what is measured ----------------------------------------------------------------------------


def against_bare(ours: Ours, *, prompts: int, peers: Path | None) -> list[Line]:
    """Tokens a second of both sides, turn by turn, and of what else can be had."""
    others = {"bare": Other([sys.executable, __file__, "--bare", str(ours.model)], ours.log)}
    warm = ours.shards(first=prompts, prompts=TURN)
    shards = ours.shards(first=0, prompts=prompts)
    peer = _opened(peers, ours, warm[0]) if peers else None
    if peer is not None:
        others["distilabel"] = peer
    spent: dict[str, float] = {}
    tokens: dict[str, float] = {}
    with ours.crew(workers=1) as crew:
        began = time.perf_counter()
        crew.begin(warm)
        crew.sample(warm[0])
        start = time.perf_counter() - began
        for other in others.values():
            other.turn(ours.asked(warm[0], exact=True))
        for number, shard in enumerate(shards):
            sides = ["ours", *others, "fastest"]
            # Nobody always goes first, or always after the same one.
            for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
                _turn(ours, crew, others, side, shard, spent, tokens)
    for other in others.values():
        other.close()
    rate = {side: tokens[side] / spent[side] for side in spent}
    lines: list[Line] = [
        ("bare vLLM, start of the engine, s", others["bare"].start, ""),
        ("prefactory sample, start and first shard, s", start, ""),
        ("bare vLLM.generate, output tokens/s", rate["bare"], ""),
        ("prefactory sample, output tokens/s", rate["ours"], ""),
        ("  beside bare vLLM", rate["ours"] / rate["bare"], ">= 0.97"),
        ("  tokens beside bare vLLM's", tokens["ours"] / tokens["bare"], "1"),
        ("bare, no log-probabilities and no seeds, tokens/s", rate["fastest"], ""),
        ("  prefactory sample beside it", rate["ours"] / rate["fastest"], ""),
    ]
    if "distilabel" in rate:
        lines.append(("distilabel, vLLM step, output tokens/s", rate["distilabel"], ""))
        lines.append(("  prefactory sample beside it", rate["ours"] / rate["distilabel"], ""))
    return lines


def _turn(
    ours: Ours,
    crew: Crew,
    others: dict[str, Other],
    side: str,
    shard: Shard,
    spent: dict[str, float],
    tokens: dict[str, float],
) -> None:
    if side == "ours":
        began = time.perf_counter()
        crew.begin([shard])
        crew.sample(shard)
        found = {"seconds": time.perf_counter() - began}
        found["tokens"] = tokens_of(ours.store, [shard])
    else:
        other = others["bare" if side == "fastest" else side]
        found = other.turn(ours.asked(shard, exact=side != "fastest"))
    spent[side] = spent.get(side, 0.0) + found["seconds"]
    tokens[side] = tokens.get(side, 0.0) + found["tokens"]


def workers(ours: Ours, *, prompts: int) -> list[Line]:
    """Tokens a second of one worker and of two, start excluded, as the command runs them."""
    lines: list[Line] = []
    rates: list[float] = []
    for count in (1, 2):
        seed = 100 * count
        warm = ours.shards(first=0, prompts=TURN * count, seed=seed)
        shards = ours.shards(first=0, prompts=prompts, seed=seed + 1)
        with ours.crew(workers=count) as crew:
            for ready in (warm, shards):
                began = time.perf_counter()
                crew.begin(ready)
                for shard in ready:
                    crew.sample(shard)
            seconds = time.perf_counter() - began
        rates.append(tokens_of(ours.store, shards) / seconds)
        lines.append((f"{count} worker(s), output tokens/s", rates[-1], ""))
    lines.append(("  two beside one", rates[1] / rates[0], ""))
    return lines


def memory(folder: Path, sizes: tuple[int, int]) -> list[Line]:
    """Peak memory of a process that samples a pool with the echo engine."""
    lines: list[Line] = []
    for size in sizes:
        place = str(folder / f"echo-{size}")
        # Adding the prompts is another command: its peak is not sampling's.
        words = [sys.executable, __file__, "--prepare", place, "--largest", str(size)]
        subprocess.run(words, check=True, capture_output=True)
        said = echoed(Path(place), size)
        goal = "" if not lines else f"<= 1.1 of {lines[0][1]:.0f}"
        lines.append((f"peak MiB, echo engine, {size} prompts", said, goal))
    return lines


def prepare(folder: Path, size: int) -> None:
    """A workspace with prompts, and a model to echo in."""
    folder.mkdir()
    make(folder / "pool.jsonl", size)
    store = open_store(folder / "ws", create=True)
    make_starter(folder / "model", spec=StarterSpec(layers=1), seed=1)
    add_prompts(store, folder / "pool.jsonl", pool="p", run_id="r", gate=0.0, dev=0.0)


_COMMAND = """
import atexit, re
from factory.__main__ import main
# ru_maxrss would carry over what the parent had.
status = lambda: open("/proc/self/status").read()
atexit.register(lambda: print(re.search(r"VmHWM:\\s+(\\d+)", status())[1]))
main()
"""


def echoed(folder: Path, size: int) -> float:
    """Type `prefactory sample`, twice a prompt; returns its peak resident memory in MiB."""
    words = [sys.executable, "-c", _COMMAND, "sample", "--workspace", str(folder / "ws"),
             "--model", str(folder / "model"), "--n", "2", "--set", "sampling.engine=echo",
             "--set", "sampling.max_tokens=32", "--json"]  # fmt: skip
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    told, _, peak = said.rstrip().rpartition("\n")
    if json.loads(told)["added"] != 2 * size:
        raise RuntimeError(told)
    return int(peak) / 1024


def cleaning(folder: Path, *, prompts: int) -> list[Line]:
    """Prompts a second that are added with near-duplicates out."""
    pool = folder / "cleaned.jsonl"
    make(pool, prompts)
    store = open_store(folder / "cleaned", create=True)
    cleaner = open_cleaner(store, CleanSettings(near_duplicates=True), pool="p")
    began = time.perf_counter()
    add_prompts(store, pool, pool="p", run_id="r", cleaner=cleaner)
    rate = prompts / (time.perf_counter() - began)
    return [("prompts cleaned/s, near-duplicates out", rate, "")]


# --- distilabel ----------------------------------------------------------------------------------


def _opened(folder: Path, ours: Ours, warm: Shard) -> Other | None:
    """Distilabel's side, where it gets as far as an answer."""
    words = _distilabel(folder)
    if words is None:
        return None
    try:
        other = Other([*words, str(ours.model)], ours.log)
        other.turn(ours.asked(warm, exact=False))
    except (RuntimeError, BrokenPipeError):
        last = ours.log.read_text(errors="replace").strip().splitlines()[-1]
        print(f"distilabel: its vLLM step fails here: {last}", file=sys.stderr)
        return None
    return other


def _distilabel(folder: Path) -> list[str] | None:
    """The command that samples with distilabel, in an environment beside ours; None without it."""
    python = folder / "distilabel-vllm" / "bin" / "python"
    script = str(HERE / "peers" / "sample_distilabel.py")
    uv = str(Path(sys.executable).with_name("uv"))
    if not python.exists():
        # vLLM and torch are taken from this environment: the same build for everybody.
        here = next(p for p in sys.path if p.endswith("site-packages"))
        steps = [
            [uv, "venv", "-q", "-p", sys.executable, str(python.parent.parent)],
            [
                uv,
                "pip",
                "install",
                "-q",
                "-p",
                str(python),
                "-c",
                str(CONSTRAINTS),
                "distilabel",
                "requests",
            ],
        ]
        if any(subprocess.run(step, check=False).returncode for step in steps):
            print("distilabel: cannot be installed here", file=sys.stderr)
            return None
        packages = next((python.parent.parent / "lib").glob("python*")) / "site-packages"
        (packages / "beside.pth").write_text(here + "\n")
    tried = subprocess.run(
        [str(python), script, "--try"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        said = tried.stderr.strip().splitlines()[-1:]
        print(f"distilabel: its vLLM step does not load here: {' '.join(said)}", file=sys.stderr)
        return None
    return [str(python), script]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--prompts", type=int, default=2048, help="prompts beside bare vLLM")
    parser.add_argument("--samples", type=int, default=8, help="samples a prompt")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--largest", type=int, default=100_000, help="prompts of the echo engine")
    parser.add_argument("--peers", type=Path, help="where distilabel's environment is or goes")
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        return bare(given.bare)
    if given.prepare:
        return prepare(given.prepare, given.largest)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"n": given.samples, "max_tokens": given.max_tokens}
        ours = Ours(folder, prompts=given.prompts, settings=settings)
        lines = against_bare(ours, prompts=given.prompts, peers=given.peers)
        lines += workers(ours, prompts=max(2 * TURN, given.prompts // 4))
        lines += memory(folder, (given.largest // 10, given.largest))
        lines += cleaning(folder, prompts=given.largest // 10)
    if given.json:
        print(json.dumps([{"what": w, "value": v, "goal": g} for w, v, g in lines], indent=1))
        return
    for what, value, goal in lines:
        print(f"{what:60} {value:12.4g}  {goal}")


if __name__ == "__main__":
    main()
