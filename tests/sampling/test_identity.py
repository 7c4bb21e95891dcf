"""A model is its weights (law 2)."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from factory.errors import UserError
from factory.sampling import identity
from factory.sampling.identity import context_length, identify, resolve_dtype
from tests.sampling.conftest import weights, write_model


def test_law_2_new_weights_under_an_old_path_are_a_new_model(own_model: Path) -> None:
    before = identify(own_model)
    save_file(weights(1), own_model / "model.safetensors", metadata={"format": "pt"})
    after = identify(own_model)
    assert after.model_id != before.model_id
    assert after.tokenizer_digest == before.tokenizer_digest


def test_law_2_old_weights_under_a_new_path_are_the_old_model(
    model_dir: Path, own_model: Path
) -> None:
    assert identify(own_model) == identify(model_dir)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("generation_config.json", '{"temperature": 0.1, "eos_token_id": [6, 1]}'),
        ("README.md", "# hello"),
    ],
)
def test_what_does_not_change_the_model_does_not_change_its_id(
    own_model: Path, file: str, content: str
) -> None:
    before = identify(own_model).model_id
    (own_model / file).write_text(content)
    assert identify(own_model).model_id == before


@pytest.mark.parametrize(
    "ends", ['{"eos_token_id": 1}', '{"eos_token_id": [1, 6, 2]}', '{"temperature": 0.1}']
)
def test_tokens_that_end_an_answer_are_part_of_it(own_model: Path, ends: str) -> None:
    seen = identify(own_model)
    (own_model / "generation_config.json").write_text(ends)
    now = identify(own_model)
    assert now.model_id != seen.model_id
    assert now.weights_digest == seen.weights_digest


def test_end_tokens_that_the_config_says_as_well_are_said_once(own_model: Path) -> None:
    (own_model / "generation_config.json").write_text('{"eos_token_id": [1]}')
    with_the_file = identify(own_model)
    (own_model / "generation_config.json").unlink()
    assert identify(own_model) == with_the_file


def test_the_chat_template_the_tokenizer_and_the_number_format_are_part_of_it(
    own_model: Path,
) -> None:
    seen = [identify(own_model).model_id, identify(own_model, dtype="bfloat16").model_id]
    template = own_model / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    seen.append(identify(own_model).model_id)
    tokenizer = json.loads((own_model / "tokenizer.json").read_text())
    tokenizer["added_tokens"][-1]["content"] = "<|stop|>"
    (own_model / "tokenizer.json").write_text(json.dumps(tokenizer))
    seen.append(identify(own_model).model_id)
    assert len(set(seen)) == 4


def test_the_architecture_is_part_of_it_and_the_library_version_is_not(own_model: Path) -> None:
    file = own_model / "config.json"
    config = json.loads(file.read_text())
    before = identify(own_model).model_id
    file.write_text(json.dumps(config | {"transformers_version": "9.9", "_name_or_path": "x"}))
    assert identify(own_model).model_id == before
    file.write_text(json.dumps(config | {"rope_theta": 5.0}))
    assert identify(own_model).model_id != before


def test_a_template_reads_the_same_from_either_of_its_two_places(own_model: Path) -> None:
    before = identify(own_model)
    template = (own_model / "chat_template.jinja").read_text()
    (own_model / "chat_template.jinja").unlink()
    file = own_model / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": template}))
    assert identify(own_model) == before


def test_weights_that_are_only_a_pickle_are_refused_with_the_reason(own_model: Path) -> None:
    (own_model / "model.safetensors").rename(own_model / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin.*can run code") as caught:
        identify(own_model)
    assert "safe_serialization" in caught.value.next


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("tokenizer.json", "no tokenizer"),
        ("chat_template.jinja", "no chat template"),
        ("model.safetensors", r"no \*\.safetensors weights"),
        ("config.json", r"no config\.json"),
    ],
)
def test_a_missing_part_is_named_with_the_directory(
    own_model: Path, missing: str, said: str
) -> None:
    (own_model / missing).unlink()
    with pytest.raises(UserError, match=said) as caught:
        identify(own_model)
    assert str(own_model) in caught.value.message
    assert caught.value.next


def test_sharded_weights_are_hashed_shard_by_shard_and_a_lost_shard_is_named(
    own_model: Path,
) -> None:
    (own_model / "model.safetensors").unlink()
    index: dict[str, str] = {}
    for part, names in enumerate(np.array_split(sorted(weights(0)), 2), 1):
        file = f"model-0000{part}-of-00002.safetensors"
        save_file({n: weights(0)[n] for n in names}, own_model / file)
        index |= {str(n): file for n in names}
    (own_model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    before = identify(own_model).model_id
    second = own_model / "model-00002-of-00002.safetensors"
    second.write_bytes(second.read_bytes()[:-4] + b"\0\0\0\1")
    assert identify(own_model).model_id != before
    second.unlink()
    with pytest.raises(UserError, match="lacks model-00002-of-00002"):
        identify(own_model)


def test_weights_that_two_engines_would_read_differently_are_refused_or_told_apart(
    own_model: Path,
) -> None:
    before = identify(own_model).model_id
    save_file(weights(1), own_model / "other.safetensors", metadata={"format": "pt"})
    assert identify(own_model).model_id != before  # vLLM would read both
    index = {"weight_map": dict.fromkeys(weights(1), "other.safetensors")}
    (own_model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="two sets of weights"):
        identify(own_model)


def test_an_index_cannot_point_out_of_its_directory(own_model: Path, tmp_path: Path) -> None:
    shutil.copy(own_model / "model.safetensors", tmp_path / "other.safetensors")
    index = {"weight_map": {"a": "../other.safetensors"}}
    (own_model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="lacks"):
        identify(own_model)


def test_an_adapter_makes_another_model_of_the_same_base(model_dir: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 4, "peft_type": "LORA"}))
    save_file({"a": np.zeros(4, np.float32)}, adapter / "adapter_model.safetensors")
    with_adapter, base = identify(model_dir, adapter=adapter), identify(model_dir)
    assert with_adapter.model_id != base.model_id
    assert with_adapter.weights_digest == base.weights_digest
    with pytest.raises(UserError, match="not an adapter directory"):
        identify(model_dir, adapter=tmp_path)


def test_the_cache_answers_for_old_files_and_notices_a_change_behind_its_back(
    own_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "digests.json"
    monkeypatch.setattr(identity, "_SETTLED_NS", -1)
    before = identify(own_model, cache=cache)
    hashed: list[Path] = []
    real = identity._hash_file

    def counting(file: Path) -> str:
        hashed.append(file)
        return real(file)

    monkeypatch.setattr(identity, "_hash_file", counting)
    assert identify(own_model, cache=cache) == before
    assert hashed == []
    # Same size, and the old modification time put back: only the change time tells.
    file = own_model / "model.safetensors"
    stat, data = file.stat(), file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert identify(own_model, cache=cache).model_id != before.model_id
    assert hashed == [file]


def test_a_file_that_has_only_just_changed_is_not_remembered(
    own_model: Path, tmp_path: Path
) -> None:
    (own_model / "model.safetensors").touch()
    identify(own_model, cache=tmp_path / "digests.json")
    remembered = json.loads((tmp_path / "digests.json").read_text())
    assert str((own_model / "model.safetensors").resolve()) not in remembered


def test_number_format_and_context_come_from_the_config(own_model: Path) -> None:
    assert resolve_dtype(own_model) == "float32"
    assert resolve_dtype(own_model, "half") == "float16"
    assert context_length(own_model) == 128
    assert context_length(own_model, 64) == 64
    config = json.loads((own_model / "config.json").read_text())
    config.pop("dtype")
    (own_model / "config.json").write_text(json.dumps(config | {"torch_dtype": "bfloat16"}))
    assert resolve_dtype(own_model) == "bfloat16"


def test_the_test_model_is_reproducible(model_dir: Path, tmp_path: Path) -> None:
    assert identify(write_model(tmp_path / "again")) == identify(model_dir)
