"""Recorded verdicts and what a plan that asks less would have made of them, at list prices.

The judges of LLMBar's and PandaLM's published runs said everything; a cheap plan is the same
answers with some left out. Which are left out, and what the rest says, is decided by the product's
own functions (`needs` and `rules` of `factory.judging.panels`). Calls are priced by the bytes of
the published prompts (four a token) at the models' list prices of 2023.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from factory.auditing.numbers import Floats
from factory.judging.client.replies import BYTES_A_TOKEN, Usage, cost_of
from factory.judging.front import Panel
from factory.judging.panels.needs import drawn, settle
from factory.judging.panels.rules import Member, decide_pair
from factory.recipe import Endpoint, Price
from factory.rows import content_id, share_of

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


def _size(text: str) -> int:
    return len(text.encode())


# --- plans ----------------------------------------------------------------------------------------


def ratings(
    names: Sequence[str],
    *,
    stop: float | None = None,
    all_of_them: bool = False,
    alike: bool = False,
) -> Play:
    """Question after question of both answers, until the pair is settled as `needs.settle` says.

    `alike`: every question costs what the plainest does, as aspects without help texts do.
    """

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
                priced_as = "Rating" if alike else name
                made.ask(item, "GPT-4", priced_as, answers=1, written=_size(raw))
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
        turned = share_of(content_id("order", judge), item.prompt) < 0.5
        for swapped in (turned, not turned):
            if ps and orders == "one":
                break
            if (
                ps
                and orders != "both"
                and (ps[0] == (0.0 if turned else 1.0)) != (orders == "if_first")
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


def any_order(names: Sequence[str], *, stop: float | None, alike: bool = False) -> Plan:
    """Questions in every order there is, each as likely: no order is picked by its result."""
    plans = [ratings(order, stop=stop, alike=alike) for order in permutations(names)]

    def play(item: Item) -> list[Outcome] | None:
        found = [plan(item) for plan in plans]
        made = [one for one in found if one is not None]
        return made if len(made) == len(plans) else None

    return play


def one_draw(names: Sequence[str], *, stop: float | None) -> Play:
    """Questions in one order for each prompt, drawn by hash as a panel in turn draws it."""

    def play(item: Item) -> Outcome | None:
        order = drawn([(0, name) for name in names], prompt_id=content_id("prompt", item.prompt))
        return ratings([name for _, name in order], stop=stop)(item)

    return play


def figures(items: Sequence[Item], plan: Plan) -> Floats:
    """(N, 4): kept, right of these, dollars, calls, as `factory.auditing.choosing` reads them.

    NaN where a verdict that the plan needs is not recorded.
    """
    rows: list[list[float]] = []
    for item in items:
        made = plan(item)
        if made is None:
            rows.append([math.nan] * 4)
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
        rows.append([sum(values) / len(each) for values in zip(*each, strict=True)])
    return np.array(rows)
