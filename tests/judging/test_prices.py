"""Prices: which line of which table prices a call, and that every paid call keeps it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from factory.errors import RecipeError
from factory.judging.client.prices import price_of, priced
from factory.judging.client.replies import Usage, cost_of
from factory.judging.verb import judge
from factory.recipe import Endpoint, Price
from factory.recipe.model import Judging
from factory.store import Store


def test_the_price_is_the_one_that_held_on_the_day() -> None:
    before, after = date(2025, 6, 9), date(2025, 6, 10)
    assert price_of("o3", today=date(2025, 1, 1)) is None
    old, new = price_of("o3", today=before), price_of("o3", today=after)
    assert old is not None and new is not None
    assert (old.input, old.source) == (10.0, "prices.yaml o3 2025-04-16")
    assert (new.input, new.source) == (2.0, "prices.yaml o3 2025-06-10")
    assert price_of("a-model-of-nobody") is None


def test_every_line_of_the_packaged_table_can_be_read_and_names_its_source() -> None:
    from factory.judging.client.prices import _read
    from factory.rooms import packaged

    lines = _read(packaged("judges") / "prices.yaml")
    assert len(lines) > 20
    assert all(line.source.startswith("https://") and line.output > line.input for line in lines)
    assert len({(line.model, line.since) for line in lines}) == len(lines)


def test_a_workspaces_lines_take_the_place_of_the_packaged_ones(tmp_path: Path) -> None:
    (tmp_path / "judges").mkdir()
    mine = tmp_path / "judges" / "prices.yaml"
    mine.write_text("prices:\n- {model: o3, from: 2024-01-01, input: 1.5, output: 6}\n")
    found = price_of("o3", workspace=tmp_path)
    assert found is not None and found.input == 1.5
    assert price_of("gpt-4o", workspace=tmp_path) == price_of("gpt-4o")
    mine.write_text("prices:\n- {model: o3, from: yesterday, input: 1.5, output: 6}\n")
    with pytest.raises(RecipeError, match=r"judges/prices.yaml: prices\.0\.from"):
        price_of("o3", workspace=tmp_path)
    mine.write_text("prices: [\n")
    with pytest.raises(RecipeError, match="not YAML"):
        price_of("o3", workspace=tmp_path)


def test_a_budget_without_a_price_is_refused_and_a_server_of_ours_has_none() -> None:
    def known(url: str, model: str = "m", price: Price | None = None) -> Price | None:
        endpoint = Endpoint(base_url=url, model=model, price=price)
        return priced(endpoint, name="main", workspace=None, budget=True).price

    vendor = "https://api.example.com/v1"
    with pytest.raises(RecipeError, match="nothing says what m costs"):
        known(vendor)
    assert known("http://10.1.2.3:8000/v1") == known("http://gpu7:8000/v1") == Price(source="none")
    assert known(vendor, price=Price(input=1)) == Price(input=1)
    table = known(vendor, model="gpt-4o-mini")
    assert table is not None and table.input == 0.15


def test_a_batch_costs_its_share() -> None:
    endpoint = Endpoint(
        base_url="https://api.example.com/v1", model="m", price=Price(input=2, output=8, batch=0.5)
    )
    usage = Usage(tokens_in=1000, tokens_out=100)
    assert cost_of(usage, endpoint) == 2800
    assert cost_of(usage, endpoint.model_copy(update={"mode": "batch"})) == 1400


def test_every_paid_call_keeps_the_line_that_priced_it_and_progress_says_dollars(
    store: Store,
    fill: Callable[..., list[str]],
    judging: Callable[..., Judging],
    server: Any,
) -> None:
    ids = fill(store, [("What is two?", ["Two.", "Three."])])
    section = judging(server.url, price=None, model="gpt-4o-mini")
    told: list[tuple[int, int]] = []
    judge(
        store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r",
        on_progress=lambda rows, microusd: told.append((rows, microusd)),
    )  # fmt: skip
    calls = store.rows("select price, cost_microusd, tokens_in, tokens_out from calls")
    assert {c["price"] for c in calls} == {"prices.yaml gpt-4o-mini 2024-07-18"}
    bill = sum(c["cost_microusd"] for c in calls)
    assert told == [(8, bill)] and bill > 0
    tokens = [(c["tokens_in"] * 15 + c["tokens_out"] * 60) / 100 for c in calls]
    assert sum(tokens) <= bill <= sum(tokens) + len(calls)


def test_the_plan_of_a_run_prices_every_text_shown_and_a_batch_at_its_share(tmp_path: Path) -> None:
    from factory.recipe import Recipe
    from factory.stages.plan import plan

    def dollars(judge: str, **more: Any) -> float:
        endpoint = {
            "base_url": "http://127.0.0.1/v1",
            "model": "m",
            "price": {"input": 1.0},
            **more,
        }
        recipe = Recipe.model_validate({
            "name": "x",
            "prompts": {"pools": [{"name": "p", "files": ["p.jsonl"]}], "per_round": 1000},
            "policy": {"model": "dir"},
            "sampling": {"n": 4, "max_tokens": 100_000},
            "gate": {"judge": "degenerate"},
            "judging": {"judges": [judge, "degenerate"], "endpoints": {"main": endpoint},
                        "comparisons": 1},
        })  # fmt: skip
        found = plan(recipe, workspace=tmp_path, rounds=1)
        return found["judges"][0]["estimated_usd"]

    # A thousand prompts, texts of 0.1 dollars, and a rubric that is next to nothing.
    assert dollars("mt-bench-single") == pytest.approx(4 * 100, rel=0.01)
    assert dollars("pairwise") == pytest.approx(2 * 2 * 100, rel=0.01)
    assert dollars("listwise-ranking") == pytest.approx(2 * 4 * 100, rel=0.01)
    assert dollars("pairwise", mode="batch") == pytest.approx(2 * 100, rel=0.01)
