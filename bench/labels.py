"""What cheaper labels cost and lose: recorded verdicts on real labels, replayed; or `--json`.

All that the judges of LLMBar's and PandaLM's published runs said is there, so a plan that asks less
is the same answers with some left out. Which are left out, and what the rest says, is decided by
the product's own functions (`needs` and `rules` of `factory.judging.panels`). Calls are priced by
the bytes of the published prompts (four a token) at the models' list prices of 2023.

A pair is kept where the plan names a better answer: verdicts that change with the order, and ties,
make no pair. `loss` is the whole plan's agreement with people on kept pairs less the cheap one's,
in points. "Drawn" questions are averaged over all their orders: what is expected of a draw.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from factory.auditing.numbers import Estimate, Floats, resampled
from factory.judging.client.replies import BYTES_A_TOKEN, Usage, cost_of
from factory.judging.front import Panel
from factory.judging.panels.needs import settle
from factory.judging.panels.rules import Member, decide_pair
from factory.recipe import Endpoint, Price
from factory.rows import content_id, share_of

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
RESAMPLES = 1_000
PRICES = {
    "GPT-4": (30.0, 60.0), "ChatGPT": (1.5, 2.0), "gpt-3.5-turbo": (1.5, 2.0),
    "pandalm-7b": (0.0, 0.0),
}  # fmt: skip
"""US dollars per million tokens, in and out, of 2023; a model that is served here costs no call."""
PROMPTS = {
    "Rating": 1141, "Rating_Metrics": 1370, "Rating_Reference": 1217,
    "Rating_Metrics_Reference": 1446, "Vanilla": 1343, "Vanilla_NoRules": 726, "CoT": 1825,
    "Metrics": 1572, "Reference": 1421, "Metrics_Reference": 1650,
    "Compared": 600,
}  # fmt: skip
"""Bytes of LLMBar's prompt files (github.com/princeton-nlp/LLMBar, evaluators/prompts); of
PandaLM's, about."""
HELP = {"Metrics": (1019, 335), "Reference": (137, 344)}
"""What is written once a prompt, questions and an answer: bytes asked with, mean bytes written."""
RATINGS = ("Rating", "Rating_Metrics", "Rating_Reference", "Rating_Metrics_Reference")
TOP = 9.0
"""The ratings' scale begins at 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A pair with people's label and every recorded verdict."""

    prompt: str
    label: float
    """1.0: the first is better, 0.0: the second, 0.5: neither."""
    sizes: tuple[int, int, int]
    """Bytes of the prompt and of both answers."""
    said: dict[tuple[str, str], dict[bool, tuple[str, str]]] = field(default_factory=dict)
    """(judge, strategy) -> swapped -> winner in unswapped numbering, raw text."""


@dataclass(slots=True)
class Outcome:
    """What a plan says of a pair, and what that costs."""

    p_first: float = 0.5
    calls: int = 0
    microusd: int = 0
    helped: set[str] = field(default_factory=set)

    def pay(self, judge: str, tokens_in: float, tokens_out: float) -> None:
        """Add a call."""
        dear, dearer = PRICES[judge]
        there = Endpoint(model=judge, base_url="http://x/v1",
                         price=Price(input=dear, output=dearer))  # fmt: skip
        usage = Usage(tokens_in=math.ceil(tokens_in), tokens_out=math.ceil(tokens_out))
        self.microusd += cost_of(usage, there)
        self.calls += 1

    def ask(self, item: Item, judge: str, strategy: str, *, answers: int, written: int) -> None:
        """Pay for a question with its help: what is written once a prompt is paid once."""
        prompt, one, other = item.sizes
        shown = PROMPTS[strategy] + prompt
        for name, (asked_with, text) in HELP.items():
            if name in strategy:
                shown += text
                if name not in self.helped:
                    self.helped.add(name)
                    self.pay(judge, (asked_with + prompt) / BYTES_A_TOKEN, text / BYTES_A_TOKEN)
        # A rating sees one of the two answers; over both it sees each once.
        shown += one + other if answers == 2 else (one + other) / 2
        self.pay(judge, shown / BYTES_A_TOKEN, written / BYTES_A_TOKEN)


Play = Callable[[Item], Outcome | None]
"""What a plan makes of a pair; None where a verdict that it needs is not recorded."""
Plan = Callable[[Item], "Outcome | list[Outcome] | None"]
"""Or all that it may make of it, each as likely."""


def llmbar(data: Path) -> list[Item]:
    """LLMBar's 1,200 pairs."""
    items = {
        (row["subset"], row["i"]): Item(
            prompt=row["input"],
            label=1.0 if row["label"] == 1 else 0.0,
            sizes=(_size(row["input"]), _size(row["output_1"]), _size(row["output_2"])),
        )
        for row in pq.read_table(data / "llmbar_pairs.parquet").to_pylist()
    }
    columns = ["subset", "i", "judge", "strategy", "swapped", "is_final", "completion", "winner"]
    recorded = pq.read_table(data / "llmbar_judgments_dev.parquet", columns=columns)
    for row in recorded.to_pylist():
        if row["is_final"]:
            verdicts = items[row["subset"], row["i"]].said
            by_order = verdicts.setdefault((row["judge"], row["strategy"]), {})
            by_order[row["swapped"]] = (row["winner"], row["completion"])
    return list(items.values())


def _size(text: str) -> int:
    return len(text.encode())


# --- plans ----------------------------------------------------------------------------------------


def ratings(names: Sequence[str], *, stop: float | None = None, all_of_them: bool = False) -> Play:
    """Question after question of both answers, until the pair is settled as `cheap.settle` says."""

    def play(item: Item) -> Outcome | None:
        if any(("GPT-4", name) not in item.said for name in names):
            return None
        said: dict[str, list[float | None]] = {"1": [], "2": []}
        made = Outcome()
        for name in names:
            turn = settle(said, questions=len(names), stop=stop)
            if not turn.ask and not all_of_them:
                break
            for which, raw in zip(
                "12", json.loads(item.said["GPT-4", name][False][1]), strict=True
            ):
                made.ask(item, "GPT-4", name, answers=1, written=_size(raw))
                said[which].append(min(float(raw), TOP) / TOP if raw.strip() else None)
        scores = settle(said, questions=len(names), stop=None if all_of_them else stop).scores
        if len(scores) == 2 and scores["1"] != scores["2"]:
            made.p_first = float(scores["1"] > scores["2"])
        return made

    return play


def compared(judge: str, strategy: str, *, orders: str = "both") -> Play:
    """A comparison in both orders, in one that is drawn by hash, or with a second where needed.

    `if_first`, `if_second`: the second order is asked where the first one names what it shows first
    (second): a judge that leans to one place is then believed where it goes against its leaning.
    """

    def play(item: Item) -> Outcome | None:
        if (judge, strategy) not in item.said:
            return None
        made, ps = Outcome(), list[float]()
        drawn = share_of(content_id("order", judge), item.prompt) < 0.5
        for swapped in (drawn, not drawn):
            if ps and orders == "one":
                break
            if (
                ps
                and orders != "both"
                and (ps[0] == (0.0 if drawn else 1.0)) != (orders == "if_first")
            ):
                break
            winner, raw = item.said[judge, strategy][swapped]
            made.ask(item, judge, strategy, answers=2, written=_size(raw))
            ps.append({"1": 1.0, "2": 0.0}.get(winner, 0.5))
        made.p_first = sum(ps) / len(ps)
        return made

    return play


def cascade(*members: Play) -> Play:
    """The next member where those before it left the pair open, as a panel in turn does."""
    names = [f"m{k}" for k in range(len(members))]
    spec = Panel(members=tuple(names), rule="first_decisive", absent="skip")
    voices = [Member(name=name) for name in names]

    def play(item: Item) -> Outcome | None:
        found = [member(item) for member in members]
        if any(one is None for one in found):
            return None
        made, said = Outcome(), dict[str, float]()
        for name, one in zip(names, found, strict=True):
            assert one is not None
            made.calls += one.calls
            made.microusd += one.microusd
            said[name] = one.p_first
            made.p_first = decide_pair(spec, voices, said).p_first or 0.0
            if made.p_first != 0.5:
                break
        return made

    return play


def any_order(names: Sequence[str], *, stop: float | None) -> Plan:
    """Questions in every order there is, each as likely: no order is picked by its result."""
    plans = [ratings(order, stop=stop) for order in permutations(names)]

    def play(item: Item) -> list[Outcome] | None:
        found = [plan(item) for plan in plans]
        made = [one for one in found if one is not None]
        return made if len(made) == len(plans) else None

    return play


def one_draw(names: Sequence[str], *, stop: float | None) -> Play:
    """Questions in one order for each prompt, drawn by hash."""

    def play(item: Item) -> Outcome | None:
        drawn = sorted(names, key=lambda name: share_of(content_id("question", name), item.prompt))
        return ratings(drawn, stop=stop)(item)

    return play


# --- measures -------------------------------------------------------------------------------------


def figures(items: Sequence[Item], plan: Plan) -> Floats:
    """(N, 5): kept, right of these, right with half a point for no pair, dollars, calls; or NaN."""
    rows: list[list[float]] = []
    for item in items:
        made = plan(item)
        if made is None:
            rows.append([math.nan] * 5)
            continue
        each = [
            (
                float(one.p_first != 0.5),
                float(one.p_first != 0.5 and (one.p_first > 0.5) == (item.label > 0.5)
                      and item.label != 0.5),
                one.microusd / 1e6,
                float(one.calls),
            )
            for one in (made if isinstance(made, list) else [made])
        ]  # fmt: skip
        kept, right, dollars, calls = (sum(v) / len(each) for v in zip(*each, strict=True))
        rows.append([kept, right, right + (1 - kept) / 2, dollars, calls])
    return np.array(rows)


def beside(
    items: Sequence[Item], whole: Plan, plans: Mapping[str, Plan]
) -> Iterator[dict[str, Any]]:
    """Every plan beside the whole one, on the pairs for which both are recorded."""
    base = figures(items, whole)
    for name, plan in {"": whole, **plans}.items():
        made = figures(items, plan)
        there = ~np.isnan(base[:, 0]) & ~np.isnan(made[:, 0])
        a, b = base[there], made[there]
        prompts = [item.prompt for item, known in zip(items, there, strict=True) if known]

        def loss(rows: Any, a: Any = a, b: Any = b) -> float:
            x, y = a[rows].sum(axis=0), b[rows].sum(axis=0)
            return 100 * float(x[1] / x[0] - y[1] / y[0])

        def saved(rows: Any, a: Any = a, b: Any = b) -> float:
            x, y = a[rows].sum(axis=0), b[rows].sum(axis=0)
            return 100 * float(1 - (y[3] / y[0]) / (x[3] / x[0]))

        def over_all(rows: Any, a: Any = a, b: Any = b) -> float:
            return 100 * float((a[rows, 2] - b[rows, 2]).mean())

        total = b.sum(axis=0)
        yield {
            "plan": name or "the whole plan",
            "pairs": len(b),
            "calls_per_pair": float(total[4] / total[0]),
            "usd_per_1000_kept": 1000 * float(total[3] / total[0]),
            "kept": 100 * float(total[0] / len(b)),
            "agreement": 100 * float(total[1] / total[0]),
            **{
                key: _interval(resampled(measure, prompts, resamples=RESAMPLES)) if name else None
                for key, measure in (("saved", saved), ("loss", loss), ("loss_over_all", over_all))
            },
        }


def _interval(found: Estimate) -> tuple[float, float, float]:
    assert found.value is not None and found.low is not None and found.high is not None
    return found.value, found.low, found.high


def pandalm(data: Path) -> list[Item]:
    """PandaLM's 999 pairs; the label is what most of three people say, else neither."""
    items: list[Item] = []
    for row in pq.read_table(data / "pandalm_human_judgments.parquet").to_pylist():
        votes = [row[f"annotator{n}"] for n in (1, 2, 3)]
        most = next((v for v in (1, 2) if votes.count(v) > 1), 0)
        prompt = f"{row['instruction']}\n{row['input']}"
        item = Item(
            prompt=prompt,
            label={1: 1.0, 2: 0.0}.get(most, 0.5),
            sizes=(_size(prompt), _size(row["response1"]), _size(row["response2"])),
        )
        for judge, name in (("gpt-3.5-turbo", "gpt35"), ("pandalm-7b", "pandalm7b")):
            said = (str(row[f"{name}_result"]), str(row[f"{name}_reason"] or ""))
            item.said[judge, "Compared"] = {False: said, True: said}
        items.append(item)
    return items


def studies(data: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Every whole plan with the cheap ones beside it."""
    pairs = llmbar(data)
    four = ratings(RATINGS, all_of_them=True)
    both = compared("GPT-4", "Metrics_Reference")
    plans: dict[str, Plan] = {
        "only certain leads settle, drawn": any_order(RATINGS, stop=None),
        **{
            f"a lead of {stop:g} of the scale does, drawn": any_order(RATINGS, stop=stop)
            for stop in (0.75, 0.5, 0.25)
        },
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
    yield "four ratings of each answer, GPT-4 (LLMBar)", list(beside(pairs, four, plans))
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
    yield "comparison in both orders, GPT-4 (LLMBar)", list(beside(pairs, both, plans))
    paid = compared("gpt-3.5-turbo", "Compared", orders="one")
    own = compared("pandalm-7b", "Compared", orders="one")
    plans = {"a judge of one's own first": cascade(own, paid)}
    found = list(beside(pandalm(data), paid, plans))
    yield "one comparison, GPT-3.5 (PandaLM)", found


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


def _words(found: tuple[float, float, float] | None) -> str:
    return "" if found is None else f"{found[0]:.2f} [{found[1]:.2f}, {found[2]:.2f}]"


def _goal(row: dict[str, Any]) -> str:
    """Whether a plan is cheap enough, and its loss within 1.5 points by the whole interval."""
    if row["saved"] is None:
        return ""
    cheap = row["saved"][1] >= 40
    close = row["loss"][2] <= 1.5 and row["loss_over_all"][2] <= 1.5
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
