"""Models are found by their weights, wherever the workspace or the weights went."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from factory.errors import UserError
from factory.reporting import doctor
from factory.sampling.identity import identify
from factory.stages import models
from factory.store import Store, backup, open_store
from tests.sampling.conftest import write_model


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "ws", create=True)


def test_a_restored_workspace_finds_its_own_models(store: Store, tmp_path: Path) -> None:
    made = write_model(store.workspace / "models" / "m")
    model_id = models.register(store, made, kind="policy", run_id="r")
    store.ledger.move_pointer("champion:policy", model_id, expect=None, reason="first")
    assert store.rows("select uri from models") == [{"uri": "models/m"}]
    backup.backup(store, tmp_path / "copy")
    backup.restore(tmp_path / "copy", tmp_path / "again")
    shutil.rmtree(store.workspace)
    again = open_store(tmp_path / "again")
    assert models.check_unchanged(again, model_id) == tmp_path / "again" / "models" / "m"
    (champion,) = [c for c in doctor.check(again.workspace) if c.check == "champion"]
    assert champion.state == "ok"


def test_weights_registered_again_elsewhere_are_found_there(store: Store, tmp_path: Path) -> None:
    first, second = write_model(tmp_path / "first"), tmp_path / "second"
    model_id = models.register(store, first, kind="policy", run_id="r")
    first.rename(second)
    with pytest.raises(UserError, match="are gone"):
        models.directory(store, model_id)
    for _ in range(2):
        assert models.register(store, second, kind="policy", run_id="r2") == model_id
    assert models.check_unchanged(store, model_id) == second
    assert len(store.rows("from models")) == 1
    assert len(store.ledger.pointer_history(f"model:{model_id}")) == 1
    shutil.copytree(second, first)
    shutil.rmtree(second)
    assert models.directory(store, model_id) == first


def test_a_directory_goes_before_a_model_registered_by_that_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = models.register(
        store, write_model(tmp_path / "elsewhere"), kind="policy", name="tiny", run_id="r"
    )
    monkeypatch.chdir(tmp_path)
    assert models.find(store, "tiny", kind="policy", run_id="r") == known
    here = write_model(tmp_path / "tiny", seed=1)
    found = models.find(store, "tiny", kind="policy", run_id="r")
    assert found == identify(here).model_id != known
    assert models.find(store, known[:12], kind="policy", run_id="r") == known


def test_an_answer_of_a_model_that_is_known_by_name_alone_has_no_tokens(store: Store) -> None:
    recorded = {"model_id": "recorded-1", "name": "somebody", "kind": "recorded"}
    store.append("models", [recorded], run_id="r")
    read = models.tokeniser_of_answers(store)
    assert read("recorded-1", [{"role": "user", "content": "hi"}], "revised") is None
    with pytest.raises(UserError):
        models.directory(store, "recorded-1")
