"""What a verb typed by hand leaves in the ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.errors import RecipeError, Stopped
from factory.prompting.ingest import Defaults, finished
from factory.stages import alone
from factory.stages.by_hand import run_by_hand
from factory.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "ws", create=True)


def state(store: Store, run_id: str) -> tuple[str, str | None]:
    run = store.ledger.run(run_id)
    assert run is not None
    return run["state"], run["error"]


@pytest.mark.parametrize(
    ("how", "left"),
    [
        (lambda: None, ("done", "")),
        (lambda: _raise(Stopped("no answer", next="again")), ("stopped", "")),
        (lambda: _raise(KeyboardInterrupt()), ("stopped", "")),
        (lambda: _raise(ValueError("broken")), ("failed", "ValueError: broken")),
    ],
)
def test_a_verb_by_hand_ends_as_its_work_did(
    store: Store, how: Callable[[], None], left: tuple[str, str]
) -> None:
    ids: list[str] = []

    def work() -> None:
        with run_by_hand(store, "pair", {"limit": 1}) as run_id:
            ids.append(run_id)
            assert state(store, run_id)[0] == "running"
            how()

    with contextlib.suppress(Stopped, KeyboardInterrupt, ValueError):
        work()
    assert state(store, ids[0]) == left


def test_engine_settings_are_given_field_by_field(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ws", create=True)
    words = ["sampling.engine=echo", "settings.batch_size=4", "sampling.settings.process=true"]
    settings, seed = alone._sampling(store, None, words)
    assert (settings.engine, seed) == ("echo", 0)
    assert settings.settings == {"batch_size": 4, "process": True}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("temperature", "expected FIELD=VALUE"),
        ("temperature=[", "expected FIELD=VALUE"),
        ("temperature=-1", "sampling.temperature"),
        ("top_p=1.5", "sampling.top_p"),
        ("temperature=.inf", "sampling.temperature"),
        ("max_tokens=0", "sampling.max_tokens"),
        ("max_model_len=-5", "sampling.max_model_len"),
        ("stop=['']", "sampling.stop.0"),
        ("vary.temperature=[0.7, 0.7, 1.0]", "a value is listed twice"),
        ("engine.name=vllm", "sampling.engine"),
        ("adaptive={up_to: 16, good: 3, bad: 4}", "bad must be less than good, which is 3"),
        ("exactness.engines=[vlm]", "sampling.exactness.engines.0"),
        ("thinking=[---, ---]", "must differ"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_field(store: Store, word: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        alone._sampling(store, None, [word])
    assert said in str(caught.value)


def test_what_a_round_would_not_draw_is_not_sampled_by_hand_either(store: Store) -> None:
    rows = [
        finished([{"role": "user", "content": f"say {i}"}], Defaults(pool="a", gate=0, dev=0))
        for i in range(3)
    ]
    nameless = {"prompt_id": "0" * 32, "pool": "a", "source_id": "9", "split": "train", "bucket": 0}
    store.append("prompts", [*rows, nameless], run_id="r")
    bad = rows[0]["prompt_id"]
    drop = {"item_kind": "prompt", "item_id": bad, "prompt_id": bad, "reason": "contaminated",
            "detail": '{"pool": "a"}'}  # fmt: skip
    store.drop("expand", [drop], run_id="r")
    asked = alone._prompts(store, pools=["a"], split="train", limit=None)
    assert asked == sorted(row["prompt_id"] for row in rows[1:])


def _raise(error: BaseException) -> None:
    raise error
