"""A model that is served elsewhere is known by what its file declares, not by its URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.errors import UserError
from factory.recipe import Sampling
from factory.rows import SamplingParams
from factory.sampling.verb import plan
from factory.stages import models
from factory.stages.crew import Crew
from factory.store import Store
from tests.sampling.servers import Server


def declared(folder: Path, model_dir: Path, **more: Any) -> Path:
    file = folder / "big.yaml"
    said = {"remote": "big", "revision": "1", "tokenizer": str(model_dir), **more}
    file.write_text(yaml.safe_dump(said))
    return file


def test_the_url_is_no_part_of_what_a_remote_model_is_and_the_revision_is(
    tmp_path: Path, model_dir: Path
) -> None:
    ids = [
        models.identity(declared(tmp_path, model_dir, **more)).model_id
        for more in (
            {"settings": {"urls": ["http://a/v1"]}},
            {"settings": {"urls": ["http://b/v1"]}},
            {"revision": "2"},
        )
    ]
    assert ids[0] == ids[1] != ids[2]


def test_a_reference_on_a_server_is_sampled_beside_a_policy_of_this_machine(
    store: Store, add_prompts: Callable[..., list[str]], model_dir: Path, tmp_path: Path
) -> None:
    prompts = add_prompts("say hello", "say stop")
    params = SamplingParams(max_tokens=8)
    with Server(vllm=False) as server:
        settings = {"urls": [server.url], "model": "m"}
        file = declared(tmp_path, model_dir, settings=settings)
        ids = [
            models.register(store, place, kind="reference", run_id="r")
            for place in (model_dir, models.locate(str(file)))
        ]
        shards = [
            shard
            for each in ids
            for shard in plan(
                store, draws=[{"model_id": each, "params_id": params.params_id, "seed": 1, "n": 2,
                               "prompt_ids": prompts}],
                params=params, model_dir=models.parts(models.directory(store, each))[0],
                run_id="r",
            )
        ]  # fmt: skip
        crew = Crew(
            store, Sampling(engine="echo"), run_id="r", log=lambda n: tmp_path / n, note=print
        )
        crew.begin(shards)
        assert [crew.sample(shard) for shard in shards] == [4, 4]
        crew.close()
    said = store.rows(
        "select m.kind, c.engine, c.retokenised, count(*) as n from completions c "
        "join models m using (model_id) group by all order by 1"
    )
    assert [tuple(row.values()) for row in said] == [
        ("reference", "echo", False, 4),
        ("remote", "openai", True, 4),
    ]


def test_an_edited_revision_is_another_model_and_is_refused_under_the_old_id(
    store: Store, tmp_path: Path, model_dir: Path
) -> None:
    file = declared(tmp_path, model_dir)
    model_id = models.register(store, file, kind="reference", run_id="r")
    assert models.check_unchanged(store, model_id) == file
    declared(tmp_path, model_dir, revision="2")
    with pytest.raises(UserError, match="changed: it holds model"):
        models.check_unchanged(store, model_id)


def test_a_remote_model_is_not_trained_from_and_a_wrong_file_is_named(
    tmp_path: Path, model_dir: Path
) -> None:
    file = declared(tmp_path, model_dir)
    with pytest.raises(UserError, match="its weights are not here to be trained"):
        models.whole(file)
    with pytest.raises(UserError, match=r"big.yaml: urls: Extra inputs"):
        models.identity(declared(tmp_path, model_dir, urls=["http://a/v1"]))
    with pytest.raises(UserError, match="there is no directory /no/such"):
        models.identity(declared(tmp_path, Path("/no/such")))
