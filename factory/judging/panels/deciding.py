"""Panels at work: members' stored judgements are read, decided on, and become rows. No calls.

(Panels that ask their members in turn are in `in_turn`.)

A panel's id is made of its file, its members' ids and their weights, so a member that was edited or
got other weights makes another panel. A verdict that is there stays; one that failed because a
member was missing is made once more, as a further replicate, when the member has spoken.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from factory.errors import RecipeError, UserError
from factory.judging.files import Judge
from factory.judging.front import Panel
from factory.judging.outcomes import Verdict, failed
from factory.judging.panels.rules import RELATIVE, UNBOUNDED, Member, decide, decide_pair
from factory.judging.plan import Task, task_of
from factory.judging.work import Commit, Source, row_of
from factory.store import Store

Rows = Sequence[Mapping[str, Any]]
Decision = tuple[tuple[str, ...], Verdict, dict[str, object]]
"""What is judged, the verdict, and what the members said."""

PROMPTS_AT_ONCE = 2_000
FEWEST = 30
"""Comparisons with people without which an agreement is not made a weight."""

_JUDGED = """
select j.judgement_id, j.judge_id, j.prompt_id, j.bucket, j.completion_ids, j.completion_id,
  coalesce(j.aspect, '') as aspect, j.status, j.score, j.replicate, j.rationale,
  case
    when j.p_first is not null then j.p_first
    when j.winner_id is null then 0.5
    when j.winner_id = j.completion_ids[1] then 1.0
    else 0.0
  end as p_first
from judgements j
where list_contains($judges, j.judge_id) and list_contains($prompts, j.prompt_id)
order by j.judgement_id
"""
_PROMPTS = """
select c.prompt_id, c.bucket, list(c.completion_id order by c.completion_id) as ids
from completions c
semi join wanted w on w.completion_id = c.completion_id
where c.text is not null
group by c.prompt_id, c.bucket
order by c.prompt_id
"""
_AGREEMENT = """
select m.judge, count(*) as n,
  count(*) filter ((m.p_one > 0.5) = (h.p_one > 0.5)) as agree
from rated_pairs m
join rated_pairs h on h.one_id = m.one_id and h.other_id = m.other_id and h.kind = 'human'
where list_contains($members, m.judge) and m.kind <> 'human'
  and m.p_one <> 0.5 and h.p_one <> 0.5
group by m.judge
"""


def checked(panel: Panel, members: Sequence[Judge], *, name: str) -> None:
    """Refuse members whose verdicts the rule cannot put together.

    Raises:
        RecipeError: naming the member.
    """
    for member in members:
        kind = member.front.kind
        if kind in ("human", "panel"):
            raise RecipeError(
                f"judges/{name}.md: {member.name} is of kind {kind} and cannot be a member",
                next=f"edit judges/{name}.md",
            )
        if panel.in_turn and panel.rule == "mean" and kind not in ("pointwise", "verifier"):
            raise RecipeError(
                f"judges/{name}.md: {member.name} is of kind {kind}, and only judges that score "
                "answers one by one can be asked question after question",
                next=f"edit judges/{name}.md: rule: first_decisive",
            )
        if kind == "reward_model" and panel.rule not in UNBOUNDED:
            raise RecipeError(
                f"judges/{name}.md: {member.name} scores without a scale, which rule "
                f"{panel.rule} needs",
                next=f"edit judges/{name}.md: rule: borda or bradley_terry",
            )


def weights_of(store: Store, panel: Panel, *, name: str) -> dict[str, float]:
    """The weight of every member: 1, what the file says, or from its agreement with people.

    Raises:
        UserError: where people's labels are too few to tell.
    """
    if panel.weights != "agreement":
        return {m: float(panel.weights.get(m, 1.0)) for m in panel.members}
    found = store.rows(_AGREEMENT, {"members": list(panel.members)})
    counts = {row["judge"]: (row["agree"], row["n"]) for row in found}
    weights: dict[str, float] = {}
    for member in panel.members:
        agree, n = counts.get(member, (0, 0))
        if n < FEWEST:
            raise UserError(
                f"judges/{name}.md: weights: agreement needs {FEWEST} pairs that people and "
                f"{member} both decided; there are {n}",
                next="prefactory audit, or write the weights in the file",
            )
        share = (agree + 1) / (n + 2)
        # Rounded, because the weights are part of the panel's id: one more label is no new panel.
        weights[member] = round(max(0.0, math.log(share / (1 - share))), 1)
    return weights


def judge_panel(
    store: Store, source: Source, completion_ids: Sequence[str], commit: Commit
) -> None:
    """Make the verdicts that a panel owes, from what its members have said."""
    for part in parts(prompts_of(store, completion_ids), PROMPTS_AT_ONCE):
        write(store, source, part, commit, decided=_decided)


def write(
    store: Store,
    source: Source,
    prompts: Sequence[Mapping[str, Any]],
    commit: Commit,
    *,
    decided: Callable[[Mapping[str, Any], Rows, Source], Iterable[Decision]],
    anew: bool = False,
) -> None:
    """Append what is new of the verdicts on some prompts, in one commit.

    With `anew` the verdicts of a prompt hold together: where one of them has changed, it takes the
    place of the one before, and who is no longer among them is out.
    """
    said = said_of(store, source, prompts)
    made: list[dict[str, object]] = []
    planned = 0
    for prompt in prompts:
        rows = said[prompt["prompt_id"]]
        verdicts = list(decided(prompt, rows, source))
        planned += len(verdicts)
        made += _fresh(prompt, verdicts, rows, source, anew=anew)
    commit.report.planned += planned
    commit.report.present += planned - len(made)
    commit(made)


def said_of(
    store: Store, source: Source, prompts: Sequence[Mapping[str, Any]]
) -> Mapping[str, list[dict[str, Any]]]:
    """Prompt -> the judgements of the panel's members, and its own."""
    known = [m.judge_id for m in source.members] + [source.judge_id]
    by_prompt: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in store.rows(_JUDGED, {"judges": known, "prompts": [p["prompt_id"] for p in prompts]}):
        by_prompt[row["prompt_id"]].append(row)
    return by_prompt


def prompts_of(store: Store, completion_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Prompts with the ids of their completions."""
    import pyarrow as pa

    with store.connect(mentioned_in=_PROMPTS) as con:
        con.register("wanted", pa.table({"completion_id": pa.array(completion_ids, pa.string())}))
        return con.sql(_PROMPTS).to_arrow_table().to_pylist()


def parts(items: Sequence[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    """The items, a bounded number at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _decided(
    prompt: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], source: Source
) -> Iterator[Decision]:
    """Every verdict of one prompt, with what the members said."""
    spec = source.judge.front.panel
    assert spec is not None
    ids: list[str] = prompt["ids"]
    voices = [
        member_of(m, weight) for m, weight in zip(source.members, source.weights, strict=True)
    ]
    kinds = {m.judge.front.kind for m in source.members}
    said = {m.judge.name: [r for r in rows if r["judge_id"] == m.judge_id] for m in source.members}
    if kinds == {"pairwise"} and spec.rule not in RELATIVE - {"first_decisive"}:
        yield from _pairs(source, rows, voices, said, set(ids))
        return
    scores = {m.judge.name: scores_of(m, said[m.judge.name], set(ids)) for m in source.members}
    for i, verdict in decide(spec, voices, scores, ids).items():
        heard = {n: s[i] for n, s in scores.items() if i in s}
        yield (i,), verdict, lineage_of(heard, said, {i})


def member_of(member: Source, weight: float = 1.0) -> Member:
    """A member's voice: its weight, and the ends of its scale."""
    front = member.judge.front
    compared = front.kind == "pairwise"
    low, high = (0.0, 1.0) if compared else (front.scale.min, front.scale.max)
    return Member(name=member.judge.name, weight=weight, low=low, high=high)


def lineage_of(
    heard: Mapping[str, float], said: Mapping[str, Sequence[Mapping[str, Any]]], about: set[str]
) -> dict[str, object]:
    """What each member said of some completions, and in which judgements."""
    return {
        name: {
            "score": heard.get(name),
            "judgements": [
                r["judgement_id"]
                for r in rows
                if (
                    r["completion_id"] in about
                    if r["completion_id"]
                    else about & {*r["completion_ids"]}
                )
            ],
        }
        for name, rows in said.items()
    }


def _pairs(
    source: Source,
    rows: Rows,
    voices: Sequence[Member],
    said: Mapping[str, Sequence[Mapping[str, Any]]],
    ids: set[str],
) -> Iterator[Decision]:
    spec = source.judge.front.panel
    assert spec is not None
    matches = matches_by_member(source, rows, ids)
    for pair in sorted({pair for found in matches.values() for pair in found}):
        heard = {name: p for name, found in matches.items() if (p := found.get(pair)) is not None}
        yield pair, decide_pair(spec, voices, heard), pair_lineage(heard, said, pair)


def pair_lineage(
    heard: Mapping[str, float], said: Mapping[str, Sequence[Mapping[str, Any]]], pair: Sequence[str]
) -> dict[str, object]:
    """What each member said of a pair, both orders combined, and in which judgements."""
    return {
        name: {
            "p_first": heard.get(name),
            "judgements": [r["judgement_id"] for r in rows if {*r["completion_ids"]} == {*pair}],
        }
        for name, rows in said.items()
    }


def matches_by_member(
    source: Source, rows: Rows, ids: set[str]
) -> dict[str, dict[tuple[str, str], float | None]]:
    """What each member of a panel said of pairs, by its name."""
    return {
        m.judge.name: matches_of(m, [r for r in rows if r["judge_id"] == m.judge_id], ids)
        for m in source.members
    }


def matches_of(
    member: Source, rows: Iterable[Mapping[str, Any]], ids: set[str]
) -> dict[tuple[str, str], float | None]:
    """Lower id, higher id -> P(the lower is better), orders combined; None where one is lacking.

    An order that failed is lacking, and so is one that is not there yet (its call is held, or the
    run ended between the two): half a verdict carries the judge's position bias in full.
    """
    asked = 2 if member.judge.front.orders == "both" else 1
    orders: dict[tuple[str, str], dict[bool, list[float | None]]] = {}
    for row in rows:
        if len(row["completion_ids"]) != 2 or not ids.issuperset(row["completion_ids"]):
            continue
        first, second = row["completion_ids"]
        pair, swapped = (min(first, second), max(first, second)), first > second
        p = row["p_first"] if row["status"] == "ok" else None
        orders.setdefault(pair, {}).setdefault(swapped, []).append(
            None if p is None else 1 - p if swapped else p
        )
    found: dict[tuple[str, str], float | None] = {}
    for pair, by_order in orders.items():
        # Replicates: a failed one is made good by another of the same order, not of the other.
        means = [_mean([p for p in ps if p is not None]) for ps in by_order.values()]
        known = [m for m in means if m is not None]
        found[pair] = _mean(known) if asked <= len(known) == len(means) else None
    return found


def scores_of(member: Source, rows: Sequence[Mapping[str, Any]], ids: set[str]) -> dict[str, float]:
    """The member's score of each completion: means over replicates, orders, then aspects."""
    if member.judge.front.kind == "pairwise":
        wins: dict[str, list[float]] = defaultdict(list)
        for (low, high), p in matches_of(member, rows, ids).items():
            if p is not None:
                wins[low].append(p)
                wins[high].append(1 - p)
        return {i: sum(ps) / len(ps) for i, ps in wins.items()}
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row["status"] == "ok" and row["completion_id"] in ids and row["score"] is not None:
            found[row["completion_id"], row["aspect"]].append(row["score"])
    aspects = member.judge.aspects
    return {
        i: sum(sum(found[i, a]) / len(found[i, a]) for a in aspects) / len(aspects)
        for i in sorted({i for i, _ in found})
        if all(found.get((i, a)) for a in aspects)
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


PUT_OUT = "put_out"
"""Why a completion has no score any more: a prompt was settled anew, and it is no candidate."""


def _replaces(verdict: Verdict, last: Mapping[str, Any], *, anew: bool) -> bool:
    """Whether a verdict is another than the last one, and takes its place."""
    if anew and last["status"] == "ok":
        return verdict.status != "ok" or verdict.score != last["score"]
    return last["status"] != "ok" and verdict.status == "ok"


def _fresh(
    prompt: Mapping[str, Any],
    verdicts: Sequence[Decision],
    rows: Sequence[Mapping[str, Any]],
    source: Source,
    *,
    anew: bool,
) -> list[dict[str, object]]:
    """Rows for what is new: no verdict yet, or a failed one that has become another."""
    own: dict[tuple[str, ...], Mapping[str, Any]] = {}
    listed = sorted(
        (r for r in rows if r["judge_id"] == source.judge_id), key=lambda r: r["replicate"]
    )
    for shown, group in groupby(
        sorted(listed, key=lambda r: tuple(r["completion_ids"])),
        key=lambda r: tuple(r["completion_ids"]),
    ):
        own[shown] = list(group)[-1]
    # Of a prompt that is judged in part, what the rest was given still stands.
    whole = anew and {i for shown in own for i in shown} <= set(prompt["ids"])
    left = own.keys() - {shown for shown, _, _ in verdicts} if whole and verdicts else set()
    out = [(shown, failed("error", PUT_OUT), {}) for shown in sorted(left)]
    made: list[dict[str, object]] = []
    for shown, verdict, lineage in [*verdicts, *out]:
        last = own.get(shown)
        if last is not None and not _replaces(verdict, last, anew=whole):
            continue
        task: Task = task_of(
            source.judge,
            shown,
            judge_id=source.judge_id,
            prompt_id=prompt["prompt_id"],
            aspect="",
            replicate=0 if last is None else last["replicate"] + 1,
            bucket=prompt["bucket"],
        )
        raw = json.dumps({"members": lineage}, ensure_ascii=False, separators=(",", ":"))
        made.append(row_of(task, verdict, source, raw=raw, cost_microusd=0))
    return made
