"""The small store of the pairing tests, for tests that go on from its pairs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).parent.parent / "pairing" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("pairing_world", _PATH)
assert _SPEC and _SPEC.loader
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
World = _MODULE.World


@pytest.fixture
def world(tmp_path: Path):
    return World(tmp_path / "ws")


@pytest.fixture
def worlds(tmp_path_factory: pytest.TempPathFactory):
    """Makes as many worlds as a test asks for."""
    return lambda: World(tmp_path_factory.mktemp("ws") / "ws")
