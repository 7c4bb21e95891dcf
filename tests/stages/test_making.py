"""Makers with somebody who really writes: a tiny model, or a server on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.errors import BudgetExhausted, RecipeError
from factory.prompting.cleaning.cleaner import CleanSettings
from factory.prompting.ingest import Defaults
from factory.recipe import Recipe, Sampling
from factory.recipe.prompts import Making
from factory.stages import making, supply
from factory.stages.plan import check_settings
from factory.stages.progress import Silent
from factory.stages.run import Run
from factory.store import Store, open_store
from tests.judging.server import Body, Server, serving
from tests.sampling.conftest import write_model


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "ws", create=True)


@pytest.fixture(scope="module", autouse=True)
def engines_end() -> Iterator[None]:
    """No engine process outlives the tests."""
    yield
    from factory.sampling.engines.process import close_servers

    close_servers()


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starter that was taught, in seconds, what users of the toy world write."""
    import torch
    from transformers import AutoModelForCausalLM

    from factory.prompting.toyworld import make_tasks
    from factory.sampling.render import Renderer
    from factory.training.starter import StarterSpec, make_starter

    spec = StarterSpec(hidden_size=64, heads=2, layers=1, intermediate_size=128)
    base = make_starter(tmp_path_factory.mktemp("toy") / "base", spec=spec, seed=1)
    renderer = Renderer(base)
    texts = [task.text for task in make_tasks(600, seed=1)]
    rows = [renderer.render([{"role": "user", "content": text}])[:-1] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    labels = ids.masked_fill(ids == 0, -100)
    model = AutoModelForCausalLM.from_pretrained(base)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    torch.manual_seed(0)
    for _ in range(120):
        batch = torch.randint(len(rows), (12,))
        loss = model(input_ids=ids[batch], labels=labels[batch]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    taught = base.with_name("taught")
    model.save_pretrained(taught)
    renderer.tokenizer.save_pretrained(taught)
    return taught


def make(store: Store, maker: str, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "pool": "new", "rows": 12, "parents": [], "model": None, "seed": 0, "overrides": [],
        "defaults": Defaults(pool="new", license="MIT"), "clean": CleanSettings(),
        "dry_run": False, "progress": Silent(),
    }  # fmt: skip
    return making.by_hand(store, maker=maker, **{**given, **more})


SMALL = ["sampling.engine=transformers", "max_tokens=40", "temperature=0.7"]


def test_a_model_writes_the_users_turn_from_its_own_template(store: Store, toy: Path) -> None:
    first = make(store, "magpie", model=str(toy), overrides=SMALL)
    assert first["added"] == 12
    texts = [
        json.loads(row["messages"])[0]["content"]
        for row in store.rows("select messages from prompts where pool = 'new'")
    ]
    alike = [t for t in texts if t.split()[0] in {"repeat", "spell", "say"}]
    assert len(alike) > 8, texts
    assert not [t for t in texts if "<|" in t]
    again = make(store, "magpie", model=str(toy), overrides=SMALL)
    assert (again["asked"], again["added"], again["present"]) == (0, 0, 12)
    (row,) = store.rows("select distinct model_id, engine, params_id from makings")
    assert row["engine"] == "transformers"
    (known,) = store.rows("select model_id from models")
    assert row["model_id"] == known["model_id"]
    assert store.rows("select * from params where params_id = $id", {"id": row["params_id"]})


def test_a_random_model_leaves_drops_with_reasons_and_no_special_token(
    store: Store, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "random")
    report = make(store, "magpie", model=str(model), rows=4, overrides=SMALL)
    assert report["asked"] > 0
    assert set(report["dropped"]) <= {"truncated", "bad_text", "empty_prompt", "duplicate"}
    long = ["sampling.engine=transformers"]
    full = make(store, "magpie", model=str(model), pool="b", rows=1, overrides=long)
    assert set(full["dropped"]) == {"prompt_too_long"}
    assert store.rows("select count(*) as n from makings where pool = 'b'")[0]["n"] == 0


def writer_of(store: Store, model: Path) -> Any:
    from factory.rows import SamplingParams
    from factory.stages import models, writers

    model_id = models.register(store, model, kind="reference", run_id="r")
    return writers.EngineWriter(
        store, model_id, Sampling(engine="echo"), SamplingParams(max_tokens=32), False, "r",
        store.workspace / "log", print,
    )  # fmt: skip


def test_a_writers_number_format_is_another_writers_and_its_context_may_be_small() -> None:
    def params_id(**settings: Any) -> str:
        job = making.Job(
            maker=making.files.load("evol"), pool="new", rows=1, seed=0,
            making=Making(parents=("seeds",), max_tokens=64),
            sampling=Sampling(max_model_len=256, settings=settings),
            defaults=Defaults(pool="new"), clean=CleanSettings(),
        )  # fmt: skip
        return job.params().params_id

    assert params_id() == params_id(max_num_seqs=8) != params_id(dtype="bfloat16")


def test_a_writer_that_thinks_is_read_for_what_it_answers(store: Store, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    from factory.sampling.base import Sampled
    from factory.sampling.engines.echo import EchoSampler

    model = write_model(tmp_path / "thinker")
    file = str(model / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    tokenizer.add_special_tokens(["[THINK]", "[/THINK]"])  # in no text, as Magistral's
    tokenizer.save(file)
    writer = writer_of(store, model)

    def told(text: str, finish: str) -> tuple[str, str]:
        ids = writer._renderer.tokenizer(text, add_special_tokens=False)["input_ids"]
        said = writer._told(Sampled("p", 0, ids, None, finish, text), EchoSampler())
        return said.text, said.finish_reason

    thought = "[THINK]<prompt>no</prompt>[/THINK]<prompt>yes</prompt>"
    assert told(thought, "stop") == ("<prompt>yes</prompt>", "stop")
    assert told("[THINK]<prompt>no</prompt>", "stop") == ("", "no_answer")
    assert told("<prompt>yes</prompt>", "stop") == ("<prompt>yes</prompt>", "stop")


def test_an_adapter_may_write_and_a_server_is_told_the_messages(
    store: Store, tmp_path: Path
) -> None:
    from factory.prompting.makers.plan import Making as One

    base = write_model(tmp_path / "base")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 1}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (adapter / "adapter_model.safetensors").write_bytes(b"as it is")
    writer = writer_of(store, adapter)
    messages = [{"role": "user", "content": "write a prompt"}]
    request = writer._request(One(making_id="m", messages=messages, seed=1, replicate=0), 128)
    assert list(request.messages) == messages
    assert request.prompt_token_ids == writer._renderer.render(messages)


def test_more_rows_show_a_maker_the_same_examples_first(store: Store) -> None:
    from dataclasses import replace

    from factory.prompting.ingest import finished
    from factory.prompting.makers.plan import Model, makings

    rows = [
        finished([{"role": "user", "content": f"Say {i}."}], Defaults(pool="seeds", gate=0, dev=0))
        for i in range(1100)
    ]
    store.append("prompts", rows, run_id="r")
    job = making.Job(
        maker=making.files.load("self_instruct"), pool="new", rows=10, seed=0,
        making=Making(parents=("seeds",)), sampling=Sampling(), defaults=Defaults(pool="new"),
        clean=CleanSettings(),
    )  # fmt: skip

    def first(rows: int) -> list[str]:
        parents = making._parents(store, replace(job, rows=rows))
        coming = makings(job.maker, parents, pool="new", seed=0, model=Model())
        return [next(coming).making_id for _ in range(4)]

    assert first(10) == first(1000)


def evolved(body: Body) -> str:
    text = body["messages"][-1]["content"]
    return f"<prompt>Harder, in {len(text)} letters: {hash(text) % 10_000}?</prompt>"


def seeds(store: Store) -> None:
    from factory.prompting.ingest import finished

    rows = [
        finished([{"role": "user", "content": f"Say {i}."}], Defaults(pool="seeds", gate=0, dev=0))
        for i in range(16)
    ]
    store.append("prompts", rows, run_id="r")


def endpoint(url: str, *more: str) -> list[str]:
    return [f"endpoint.base_url={url}", "endpoint.model=writer", "endpoint.price.output=10", *more]


def test_an_endpoint_is_paid_once_for_a_prompt(store: Store) -> None:
    seeds(store)
    with serving(Server(brain=evolved)) as server:
        words: dict[str, Any] = {"parents": ["seeds"], "overrides": endpoint(server.url)}
        first = make(store, "evol", **words)
        assert first["added"] == 12 and first["cost_microusd"] > 0
        paid = len(server.billed)
        again = make(store, "evol", **words)
        assert (again["asked"], again["cost_microusd"]) == (0, 0)
        assert len(server.billed) == paid == first["asked"]
    (calls,) = store.rows("select count(*) as n, sum(cost_microusd) as usd from calls")
    assert (calls["n"], int(calls["usd"])) == (paid, first["cost_microusd"])
    (row,) = store.rows("select distinct model_id, model_reported from makings")
    assert row == {"model_id": "writer", "model_reported": "writer-0001"}


def test_answers_that_were_paid_for_and_lost_come_from_the_ledger(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds(store)
    append = store.append

    def dies(table: str, *words: Any, **more: Any) -> int:
        if table == "makings":
            raise KeyboardInterrupt
        return append(table, *words, **more)

    with serving(Server(brain=evolved)) as server:
        words: dict[str, Any] = {"parents": ["seeds"], "overrides": endpoint(server.url)}
        with monkeypatch.context() as patched:
            patched.setattr(store, "append", dies)
            with pytest.raises(KeyboardInterrupt):
                make(store, "evol", **words)
        paid = len(server.billed)
        assert paid >= 12
        assert make(store, "evol", **words)["added"] == 12
        assert len(server.billed) == paid


def test_a_budget_stops_making_and_a_larger_one_goes_on(store: Store) -> None:
    seeds(store)
    with serving(Server(brain=evolved)) as server:
        poor = endpoint(server.url, "budget_usd=0.012", "endpoint.max_concurrency=1")
        with pytest.raises(BudgetExhausted):
            make(store, "evol", parents=["seeds"], overrides=poor)
        paid = len(server.billed)
        rich = endpoint(server.url, "budget_usd=5", "endpoint.max_concurrency=1")
        assert make(store, "evol", parents=["seeds"], overrides=rich)["added"] == 12
        assert len(server.billed) == 16 and all(n == 1 for n in server.tries.values())
        assert paid < 16


def test_a_refusal_and_prose_are_drops(store: Store) -> None:
    seeds(store)
    with serving(Server(fault=lambda key, tries: "filter" if key[0] in "0123" else "prose")) as on:
        left = make(store, "evol", parents=["seeds"], rows=2, overrides=endpoint(on.url))
    assert left["added"] == 0
    assert set(left["dropped"]) == {"refused", "unparsed"}


def test_a_dry_run_shows_the_first_request_and_asks_nobody(store: Store) -> None:
    seeds(store)
    left = make(
        store, "evol", parents=["seeds"], dry_run=True, overrides=endpoint("http://127.0.0.1:9/v1")
    )
    assert "<<<PROMPT" in left["first"][-1]["content"]
    assert store.rows("select count(*) as n from runs")[0]["n"] == 0


# --- recipes -------------------------------------------------------------------------------------


def recipe(pools: list[dict[str, Any]], **more: Any) -> Recipe:
    text = {
        "name": "small",
        "prompts": {"pools": [{"name": "seeds", "make": "toyworld", "rows": 40}, *pools]},
        "policy": {"model": "somewhere"},
        "judging": {"judges": ["toyworld"]},
        **more,
    }
    return Recipe.model_validate(yaml.safe_load(json.dumps(text)))


def test_a_recipes_pool_is_written_by_its_policy(store: Store, toy: Path) -> None:
    pool = {
        "name": "own", "make": "magpie", "rows": 6,
        "making": {"model": "policy", "max_tokens": 40, "temperature": 0.7},
    }  # fmt: skip
    found = recipe(
        [pool], policy={"model": str(toy)}, sampling={"engine": "transformers", "max_tokens": 20}
    )
    run = Run(store, found, rounds=0, run_id=found.run_id)
    left = supply.expand(run)
    assert left["own"]["added"] == 6
    (row,) = store.rows("select distinct model_id from makings")
    assert row["model_id"] == store.ledger.pointer("champion:policy")
    assert supply.expand(run) == left


def test_parents_of_a_made_pool_are_pools_listed_before_it() -> None:
    pool = {"name": "own", "make": "constraints", "making": {"parents": ["seed"]}}
    with pytest.raises(ValueError, match="did you mean 'seeds'"):
        recipe([pool])


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ({"make": "magpy", "making": {"model": "m"}}, "did you mean 'magpie'"),
        ({"make": "magpie"}, "needs somebody who writes"),
        (
            {"make": "magpie", "making": {"model": "m", "parents": ["seeds"]}},
            "starts from no prompt",
        ),
        ({"make": "evol", "making": {"model": "m"}}, "no pool is named"),
        ({"make": "toyworld", "making": {"model": "m"}}, "asks nobody"),
    ],
)
def test_a_pool_that_cannot_be_made_is_refused_before_anything_runs(
    tmp_path: Path, pool: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError) as refused:
        check_settings(recipe([{"name": "own", **pool}]), workspace=tmp_path)
    assert said in str(refused.value)


def test_making_that_is_not_named_changes_no_recipe() -> None:
    plain = {"name": "own", "make": "toyworld"}
    assert recipe([plain]).recipe_id == recipe([{**plain, "making": {}}]).recipe_id
    other = recipe([{**plain, "make": "constraints", "making": {"parents": ["seeds"]}}])
    assert other.recipe_id != recipe([{**plain, "make": "constraints"}]).recipe_id
