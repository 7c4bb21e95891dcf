"""Panels that ask their members in turn: only what a prompt's pair still needs is asked, and paid.

What is needed is read from the stored judgements before every turn, so a killed run goes on where
it was, and a member that has spoken already costs nothing. Left out from the start, because no pair
can come of them: prompts with fewer than two different answers, and those of whose answers none may
be chosen; of copies one stands for all. A completion that was put out has no verdict of the panel,
and so is no candidate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.judging.front import Panel
from factory.judging.outcomes import Verdict, failed, good, preference
from factory.judging.panels import deciding, needs
from factory.judging.panels.deciding import Decision, Rows
from factory.judging.plan import Task
from factory.judging.work import Commit, Source
from factory.rows import Status
from factory.store import Store

PROMPTS_AT_ONCE = 5_000

Ask = Callable[[Source, Sequence[str], Callable[[Task], bool]], None]
"""Have a member judge some completions, and of its questions only those that a test lets pass."""

_WORTH_ASKING = """
with
said as (
  select winner_id, score, completion_ids
  from labels where label_id not in (
    select supersedes_id from labels where supersedes_id is not null
  )
),
voted as (
  -- A person preferred it or scored it: their word goes before the detector's, as for pairs.
  select winner_id as completion_id from said where winner_id is not null
  union
  select completion_ids[1] from said where score is not null and len(completion_ids) = 1
),
flagged as (
  select distinct completion_id
  from (
    select completion_id, arg_max(score, (created_at, judgement_id)) as score
    from judgements
    where (starts_with(judge, 'injection') or parser like 'injection/%') and status = 'ok'
      and completion_id in (select completion_id from wanted)
      and completion_id not in (select completion_id from voted)
    group by completion_id, judge
  )
  where score < 0.5
),
answers as (
  select
    c.prompt_id, c.bucket, c.completion_id,
    c.finish_reason in ('stop', 'recorded') and f.completion_id is null as may_win
  from completions c
  semi join wanted w on w.completion_id = c.completion_id
  semi join prompts p on p.prompt_id = c.prompt_id
  left join flagged f on f.completion_id = c.completion_id
  where c.text is not null
  qualify row_number() over (
    partition by c.prompt_id, c.text_hash
    order by coalesce(may_win, false) desc, c.completion_id
  ) = 1
)
select
  prompt_id, any_value(bucket) as bucket,
  list(completion_id order by completion_id) as ids,
  list(completion_id order by completion_id) filter (may_win) as may_win
from answers
group by prompt_id
having count(*) > 1 and bool_or(may_win)
order by prompt_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Want:
    """What one prompt asks for next."""

    member: int
    ids: tuple[str, ...]
    aspect: str | None = None
    """None: all of the member's."""
    pairs: frozenset[tuple[str, str]] | None = None
    """Comparing members: of these pairs alone."""


def judge_in_turn(
    store: Store,
    source: Source,
    completion_ids: Sequence[str],
    commit: Commit,
    *,
    ask: Ask,
    retry: Sequence[Status] = (),
) -> None:
    """Ask the members as far as is needed, and append the verdicts of the panel."""
    for part in deciding.parts(_worth_asking(store, completion_ids), PROMPTS_AT_ONCE):
        tried: set[object] = set()
        while wanted := _wanted(store, source, part, tried, retry):
            for (member, aspect), wants in sorted(wanted.items(), key=lambda w: str(w[0])):
                ids = [i for want in wants for i in want.ids]
                ask(source.members[member], ids, _only(aspect, wants))
        mean = _spec(source).rule == "mean"
        deciding.write(store, source, part, commit, decided=decided, anew=mean)


def _worth_asking(store: Store, completion_ids: Sequence[str]) -> list[dict[str, Any]]:
    with store.connect(mentioned_in=_WORTH_ASKING) as con:
        con.register("wanted", pa.table({"completion_id": pa.array(completion_ids, pa.string())}))
        return con.sql(_WORTH_ASKING).to_arrow_table().to_pylist()


def _only(aspect: str | None, wants: Sequence[_Want]) -> Callable[[Task], bool]:
    pairs = {pair for want in wants for pair in want.pairs or ()}
    limited = any(want.pairs is not None for want in wants)
    whole = {i for want in wants if want.pairs is None for i in want.ids}

    def wanted(task: Task) -> bool:
        if aspect is not None and task.aspect != aspect:
            return False
        if not limited or whole.issuperset(task.completion_ids):
            return True
        return tuple(sorted(task.completion_ids)) in pairs

    return wanted


def _wanted(
    store: Store,
    source: Source,
    prompts: Sequence[Mapping[str, Any]],
    tried: set[object],
    retry: Sequence[Status],
) -> dict[tuple[int, str | None], list[_Want]]:
    """What the prompts ask for next, by member and aspect; noted as tried."""
    said = deciding.said_of(store, source, prompts)
    found: dict[tuple[int, str | None], list[_Want]] = defaultdict(list)
    for prompt in prompts:
        rows = said[prompt["prompt_id"]]
        if _spec(source).rule == "mean":
            want = _question(prompt, rows, source, tried, retry)
        else:
            want = _member(prompt, rows, source, tried)
        if want is not None:
            found[want.member, want.aspect].append(want)
    return found


def _spec(source: Source) -> Panel:
    assert source.judge.front.panel is not None
    return source.judge.front.panel


# --- mean: question after question ----------------------------------------------------------------


def _questions(source: Source, prompt: Mapping[str, Any]) -> list[tuple[int, str]]:
    listed = [(k, aspect) for k, m in enumerate(source.members) for aspect in m.judge.aspects]
    if _spec(source).order == "drawn":
        return needs.drawn(listed, prompt_id=prompt["prompt_id"])
    return listed


def _turn(
    prompt: Mapping[str, Any], rows: Rows, source: Source, open_to: Callable[[int, str, Rows], bool]
) -> needs.Turn:
    """The next turn of a prompt; `open_to` says which failed answers are asked for once more."""
    questions = _questions(source, prompt)
    by: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by[row["judge_id"], row["aspect"], row["completion_id"] or ""].append(row)
    said: dict[str, list[float | None]] = {i: [] for i in prompt["ids"]}
    for i, answers in said.items():
        for q, (k, aspect) in enumerate(questions):
            member = source.members[k]
            there = by.get((member.judge_id, aspect, i), ())
            voice = deciding.member_of(member)
            scores = [r["score"] for r in there if r["status"] == "ok" and r["score"] is not None]
            if not scores and open_to(q, i, there):
                break
            answers.append(voice.share(sum(scores) / len(scores)) if scores else None)
    spec = _spec(source)
    return needs.settle(
        said, questions=len(questions), stop=spec.stop, may_win=set(prompt["may_win"] or ())
    )


def _question(
    prompt: Mapping[str, Any],
    rows: Rows,
    source: Source,
    tried: set[object],
    retry: Sequence[Status],
) -> _Want | None:
    def open_to(question: int, identity: str, there: Rows) -> bool:
        again = all(row["status"] in retry for row in there)
        return again and (question, identity) not in tried

    turn = _turn(prompt, rows, source, open_to)
    if not turn.ask:
        return None
    tried.update((turn.question, i) for i in turn.ask)
    member, aspect = _questions(source, prompt)[turn.question]
    return _Want(member=member, ids=turn.ask, aspect=aspect)


# --- first_decisive: member after member ----------------------------------------------------------


def _compares(source: Source) -> bool:
    """Whether all members compare, so that each pair has a decision of its own."""
    return {m.judge.front.kind for m in source.members} == {"pairwise"}


def _speaking(source: Source, rows: Rows) -> list[int]:
    """Who may decide a prompt, in turn: who decided it before, or everybody.

    Answers that came later are scored by the same member: scores of two judges do not compare.
    """
    for row in rows:
        if row["judge_id"] == source.judge_id and row["status"] == "ok":
            for k, member in enumerate(source.members):
                if row["rationale"] == f"decided_by_{member.judge.name}":
                    return [k]
    return list(range(len(source.members)))


def _member(
    prompt: Mapping[str, Any], rows: Rows, source: Source, tried: set[object]
) -> _Want | None:
    """The member to ask next of a prompt, and about what."""
    compares, pairs = _compares(source), None
    for k in _speaking(source, rows):
        if (prompt["prompt_id"], k) not in tried:
            tried.add((prompt["prompt_id"], k))
            return _Want(member=k, ids=tuple(prompt["ids"]), pairs=pairs)
        if compares:
            open_pairs = frozenset(_undecided(k, prompt, rows, source))
            pairs = open_pairs if pairs is None else open_pairs & pairs
            if not pairs:
                return None
        elif _decides(k, prompt, rows, source):
            return None
    return None


def _of(member: Source, rows: Rows) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["judge_id"] == member.judge_id]


def _undecided(
    k: int, prompt: Mapping[str, Any], rows: Rows, source: Source
) -> Iterator[tuple[str, str]]:
    member, wanted = source.members[k], _spec(source).decisive
    for pair, p in deciding.matches_of(member, _of(member, rows), set(prompt["ids"])).items():
        if p is None or abs(p - 0.5) <= wanted + needs.CLOSE:
            yield pair


def _decides(k: int, prompt: Mapping[str, Any], rows: Rows, source: Source) -> bool:
    shares = _shares(k, prompt, rows, source)
    complete = len(shares) == len(prompt["ids"])
    return complete and needs.decisive(list(shares.values()), wanted=_spec(source).decisive)


def _shares(k: int, prompt: Mapping[str, Any], rows: Rows, source: Source) -> dict[str, float]:
    member = source.members[k]
    voice = deciding.member_of(member)
    found = deciding.scores_of(member, _of(member, rows), set(prompt["ids"]))
    return {i: voice.share(score) for i, score in found.items()}


# --- verdicts -------------------------------------------------------------------------------------


def decided(prompt: Mapping[str, Any], rows: Rows, source: Source) -> Iterator[Decision]:
    """The verdicts of one prompt; none while an answer is still to come."""
    if _spec(source).rule == "mean":
        yield from _means(prompt, rows, source)
    elif _compares(source):
        yield from _decided_pairs(prompt, rows, source)
    else:
        yield from _decided_by(prompt, rows, source)


def _by_name(source: Source, rows: Rows) -> dict[str, Rows]:
    return {m.judge.name: _of(m, rows) for m in source.members}


def _means(prompt: Mapping[str, Any], rows: Rows, source: Source) -> Iterator[Decision]:
    turn = _turn(prompt, rows, source, lambda question, identity, there: not there)
    for i, score in turn.scores.items():
        lineage = deciding.lineage_of({}, _by_name(source, rows), {i})
        yield (i,), good(score, reason=f"settled_after_{turn.asked}"), lineage


def _decided_pairs(prompt: Mapping[str, Any], rows: Rows, source: Source) -> Iterator[Decision]:
    ids, said = set(prompt["ids"]), _by_name(source, rows)
    found = deciding.matches_by_member(source, rows, ids)
    last = source.members[-1].judge.name
    for pair in sorted({pair for matches in found.values() for pair in matches}):
        heard = {name: p for name, matches in found.items() if (p := matches.get(pair)) is not None}
        firm = (
            p
            for name, p in heard.items()
            if name == last or abs(p - 0.5) > _spec(source).decisive + needs.CLOSE
        )
        p = next(firm, None)
        if p is None and pair not in found[last]:
            continue  # the last member was not asked yet
        verdict = failed("error", "member_missing") if p is None else preference(p)
        yield pair, verdict, deciding.pair_lineage(heard, said, pair)


def _decided_by(prompt: Mapping[str, Any], rows: Rows, source: Source) -> Iterator[Decision]:
    speaking = _speaking(source, rows)
    chosen = next((k for k in speaking if _decides(k, prompt, rows, source)), speaking[-1])
    name, said = source.members[chosen].judge.name, _by_name(source, rows)
    shares = _shares(chosen, prompt, rows, source)
    spoken = _heard_of(said[name])
    for i in prompt["ids"]:
        verdict: Verdict | None = None
        if i in shares:
            verdict = good(shares[i], reason=f"decided_by_{name}")
        elif i in spoken:
            verdict = failed("error", "member_missing")
        if verdict is not None:
            yield (i,), verdict, deciding.lineage_of({}, said, {i})


def _heard_of(rows: Rows) -> Collection[str]:
    """Completions about which there is any judgement."""
    return {i for row in rows for i in row["completion_ids"]}
