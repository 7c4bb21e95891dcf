"""What cheaper labels cost and lose: recorded verdicts on real labels, replayed; or `--json`.

`labels_plans.py` says what is replayed. A pair is kept where the plan names a better answer:
verdicts that change with the order, and ties, make no pair. `loss` is the whole plan's agreement
with people on kept pairs less the cheap one's, in points. "Drawn" questions are averaged over all
their orders: what is expected of a draw.

A row that stands for itself has no part that was fitted to labels, but whoever picks the best row
has. The rows in brackets make that choice as `prefactory stops` does: the cheapest plan that loses
less than 1.5 points by its whole interval, chosen on four fifths of the prompts and measured on the
last, by turns; the interval is over prompts, with the choice made anew in every draw.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from labels_plans import (
    RATINGS,
    Item,
    Plan,
    any_order,
    cascade,
    compared,
    figures,
    llmbar,
    one_draw,
    pandalm,
    ratings,
)

from factory.auditing.choosing import MOST_LOSS, WHOLE, Measured, chosen, measured
from factory.auditing.numbers import Estimate

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
ENOUGH = 40
"""Per cent of the dollars that a plan shall save."""
STOPS = (None, 0.75, 0.5, 0.25, 0.1)

Row = dict[str, Any]
Study = tuple[str, list[Row]]


def beside(
    items: Sequence[Item],
    whole: Plan,
    plans: Mapping[str, Plan],
    choices: Mapping[str, Mapping[str, Plan]] | None = None,
) -> Iterator[Row]:
    """Every plan beside the whole one, and every choice, on the pairs for which both are recorded.

    Args:
        items: the pairs.
        whole: what asking everything makes of them.
        plans: name -> plan.
        choices: name -> the plans that are chosen from; all of `plans` that are
            recorded wherever the whole one is are a choice as well.
    """
    base = figures(items, whole)
    made = {name: figures(items, plan) for name, plan in plans.items()}
    for name, found in {"the whole plan": base, **made}.items():
        prompts, (first, second) = _there(items, base, found)
        yield _as_row(name, measured(first, second, prompts), whole=found is base)
    offered = {
        name: {plan: figures(items, play) for plan, play in among.items()}
        for name, among in (choices or {}).items()
    }
    everywhere = {n: m for n, m in made.items() if not (np.isnan(m) & ~np.isnan(base)).any()}
    for name, among in {**offered, "all of these": everywhere}.items():
        yield _chosen(f"[chosen of {name}]", items, base, among)


def _there(items: Sequence[Item], *made: Any) -> tuple[list[str], list[Any]]:
    """The prompts and the figures of the pairs for which all plans are recorded."""
    there = ~np.any([np.isnan(found[:, 0]) for found in made], axis=0)
    prompts = [item.prompt for item, known in zip(items, there, strict=True) if known]
    return prompts, [found[there] for found in made]


def _chosen(plan: str, items: Sequence[Item], base: Any, among: Mapping[str, Any]) -> Row:
    prompts, made = _there(items, base, *among.values())
    found = chosen(made[0], dict(zip(among, made[1:], strict=True)), prompts)
    times = Counter(name if name != WHOLE else "the whole plan" for name in found.by_fold)
    return _as_row(plan, found.measured) | {"by_fold": dict(times)}


def _as_row(plan: str, found: Measured, *, whole: bool = False) -> Row:
    return {
        "plan": plan,
        "pairs": found.pairs,
        "calls_per_pair": found.calls,
        "usd_per_1000_kept": 1000 * found.cost,
        "kept": found.kept,
        "agreement": found.agreement,
        **{
            name: None if whole else _interval(getattr(found, name))
            for name in ("saved", "loss", "loss_over_all")
        },
    }


def _interval(found: Estimate) -> tuple[float, float, float]:
    assert found.value is not None and found.low is not None and found.high is not None
    return found.value, found.low, found.high


def studies(data: Path) -> Iterator[Study]:
    """Every whole plan with the cheap ones beside it."""
    pairs = llmbar(data)
    yield from _rated(pairs)
    yield _compared(pairs)
    paid = compared("gpt-3.5-turbo", "Compared", orders="one")
    own = compared("pandalm-7b", "Compared", orders="one")
    found = list(beside(pandalm(data), paid, {"a judge of one's own first": cascade(own, paid)}))
    yield "one comparison, GPT-3.5 (PandaLM)", found


def _rated(pairs: Sequence[Item]) -> Iterator[Study]:
    four = ratings(RATINGS, all_of_them=True)
    both = compared("GPT-4", "Metrics_Reference")
    drawn: dict[str, Plan] = {_stop(stop): any_order(RATINGS, stop=stop) for stop in STOPS}
    plans: dict[str, Plan] = {
        **drawn,
        "  0.5, one draw": one_draw(RATINGS, stop=0.5),
        "  0.5, order of the file": ratings(RATINGS, stop=0.5),
        "  0.5, the reverse": ratings(RATINGS[::-1], stop=0.5),
        **{f"one rating: {name}": ratings([name]) for name in RATINGS},
        "both answers in one call, both orders": both,
        "  and ratings where they disagree": cascade(both, ratings(RATINGS)),
        "terse comparison first, then ratings": cascade(
            compared("GPT-4", "Vanilla"), ratings(RATINGS, stop=0.5)
        ),
        "ChatGPT compares first, then ratings": cascade(
            compared("ChatGPT", "Metrics_Reference"), ratings(RATINGS)
        ),
    }
    choices = {
        "the stops, drawn": drawn,
        "the stops, one draw": {_stop(stop): one_draw(RATINGS, stop=stop) for stop in STOPS},
        "the stops, order of the file": {
            _stop(stop): ratings(RATINGS, stop=stop) for stop in STOPS
        },
    }
    yield "four ratings of each answer, GPT-4 (LLMBar)", list(beside(pairs, four, plans, choices))
    alike = {_stop(stop): any_order(RATINGS, stop=stop, alike=True) for stop in STOPS}
    found = list(beside(pairs, ratings(RATINGS, all_of_them=True, alike=True), alike))
    yield "the same, if all four cost what the plainest does", found


def _stop(stop: float | None) -> str:
    return "certain leads settle" if stop is None else f"a lead of {stop:g} of the scale does"


def _compared(pairs: Sequence[Item]) -> Study:
    both = compared("GPT-4", "Metrics_Reference")
    plans: dict[str, Plan] = {
        "one order, drawn by hash": compared("GPT-4", "Metrics_Reference", orders="one"),
        "second order if the first shown won": compared(
            "GPT-4", "Metrics_Reference", orders="if_first"
        ),
        "second order if the second shown won": compared(
            "GPT-4", "Metrics_Reference", orders="if_second"
        ),
        "ChatGPT in both orders first": cascade(compared("ChatGPT", "Metrics_Reference"), both),
        "terse comparison first": cascade(compared("GPT-4", "Vanilla"), both),
    }
    return "comparison in both orders, GPT-4 (LLMBar)", list(beside(pairs, both, plans))


def show(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """One study as a table."""
    print(f"\n{title}")
    print(f"{'plan':<46} {'pairs':>5} {'calls':>6} {'$/1000':>8} {'kept %':>7} {'agree %':>8}  "
          f"{'saved % [95 %]':<21} {'loss [95 %]':<21} {'loss, none = half':<21} goal")  # fmt: skip
    for row in rows:
        spread = [_words(row[name]) for name in ("saved", "loss", "loss_over_all")]
        print(f"{row['plan']:<46} {row['pairs']:>5} {row['calls_per_pair']:>6.2f} "
              f"{row['usd_per_1000_kept']:>8.2f} {row['kept']:>7.1f} {row['agreement']:>8.2f}  "
              f"{spread[0]:<21} {spread[1]:<21} {spread[2]:<21} {_goal(row)}")  # fmt: skip
        if "by_fold" in row:
            picks = (f"{name} ({times} of 5)" for name, times in row["by_fold"].items())
            print(f"  {', '.join(picks)}")


def _words(found: tuple[float, float, float] | None) -> str:
    return "" if found is None else f"{found[0]:.2f} [{found[1]:.2f}, {found[2]:.2f}]"


def _goal(row: dict[str, Any]) -> str:
    """Whether a plan is cheap enough, and its loss within 1.5 points by the whole interval."""
    if row["saved"] is None:
        return ""
    cheap = row["saved"][1] >= ENOUGH
    close = row["loss"][2] <= MOST_LOSS and row["loss_over_all"][2] <= MOST_LOSS
    return "met" if cheap and close else "too dear" if close else "loses too much"


def main() -> None:
    """Replay every plan and print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    if not (given.data / "llmbar_pairs.parquet").exists():
        print(f"left out: there is no recorded data in {given.data}; --data DIR says where it is")
        return
    found = dict(studies(given.data))
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for title, rows in found.items():
        show(title, rows)


if __name__ == "__main__":
    main()
