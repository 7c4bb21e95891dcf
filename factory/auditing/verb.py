"""`audit`: the tables that say whether a judge can be trusted and keeps its file's promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.auditing import agreement, ballots, bias, calibration, drift
from factory.auditing.ballots import Ballots, Unit
from factory.auditing.numbers import Table
from factory.errors import FactoryError, UserError
from factory.judging import files
from factory.store import Store

_LEVELS: tuple[ballots.Level, ...] = ("pairs", "completions")


@dataclass(slots=True)
class Audit:
    """The tables of an audit and the judges that are proven to miss their files' thresholds."""

    tables: list[Table] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, name: str, title: str, rows: list[dict[str, Any]]) -> None:
        """Keep a table that has rows."""
        if rows:
            self.tables.append(Table(name, title, rows))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table; none where it is not there."""
        return next((t.rows for t in self.tables if t.name == name), [])

    def as_dict(self) -> dict[str, Any]:
        """The audit as JSON."""
        return {"failed": self.failed} | {t.name: t.rows for t in self.tables}


def _groupable(by: str | None) -> None:
    if by is not None and by not in ballots.GROUPS:
        raise UserError(
            f"--by {by}: expected one of {', '.join(ballots.GROUPS)}",
            next="prefactory audit --help",
        )


def audit(
    store: Store,
    *,
    judges: Sequence[str] | None = None,
    reference: Sequence[str] | None = None,
    by: str | None = None,
    anchors: str | None = None,
    seed: int = 0,
) -> Audit:
    """Audit the judges of a workspace.

    Args:
        store: the workspace's store.
        judges: which; every judge by default.
        reference: raters whose majority is taken for right; everybody of kind `human` by default.
        by: also compare with the reference within each `pool`, `source`, `domain` or `lang`.
        anchors: the pool whose repeated judgements show drift; every repeated question by default.
        seed: of the resampling.

    Raises:
        UserError: when a judge or a reference is not in the store, or `by` is no such column.
    """
    _groupable(by)
    found = Audit()
    games = bias.games_of(store)
    levels = [ballots.load(store, level) for level in _LEVELS]
    known = {rater for level in levels for rater in level.kinds}
    _there([*(judges or ()), *(reference or ())], known)
    wanted = set(judges) if judges is not None else None

    def mine(rows: Sequence[dict[str, Any] | None]) -> list[dict[str, Any]]:
        return [r for r in rows if r and (wanted is None or r["judge"] in wanted)]

    found.add("outcomes", "Calls, failures and cost", mine(bias.outcomes(store, games)))
    for level in levels:
        _agreement(
            found, level, wanted, reference,
            store=store, by=by, games=games, alone=levels[1], seed=seed,
        )  # fmt: skip
    people = levels[0].people()
    longer = bias.human_longer(games, people)
    found.add("bias", "Order and length, as shares of decided verdicts", mine([
        bias.order_and_length(judge, played, human_longer=longer)
        for judge, played in sorted(games.items())
    ]))  # fmt: skip
    found.add("self_preference", "Own family against others", mine(bias.self_preference(store)))
    found.add("noise", "Bias against people and variance, as AlpacaEval defines them", mine([
        bias.bias_and_variance(judge, games.get(judge, ()), levels[0], people)
        for judge in levels[0].judges()
    ]))  # fmt: skip
    found.add("spread", "How many different verdicts, and their entropy", mine(_spread(levels)))
    found.add("drift", "The same questions asked again", mine(drift.drift(store, anchors=anchors)))
    checks = _checks(store, found, wanted)
    found.add("thresholds", "What the judges' files ask for", checks)
    found.failed = sorted({c["judge"] for c in checks if c["verdict"] == "fails"})
    return found


def _spread(levels: Sequence[Ballots]) -> list[dict[str, Any] | None]:
    return [
        bias.spread(judge, said)
        for level in levels
        for judge in level.judges()
        if (said := [v for v in level.votes[judge].values() if v is not None])
        and not _implied(level, judge, levels[1])
    ]


def _there(names: Sequence[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(known)[:20]) or "none"
            raise UserError(
                f"{name} has judged nothing here (there are: {listed})",
                next='prefactory sql "select kind, judge, count(*) from judgements group by all"',
            )


def _implied(level: Ballots, judge: str, completions: Ballots) -> bool:
    """Whether a judge's votes on pairs only follow from its scores, which have their own row."""
    return level.level == "pairs" and judge in completions.votes


def _agreement(
    found: Audit,
    level: Ballots,
    wanted: set[str] | None,
    reference: Sequence[str] | None,
    *,
    store: Store,
    by: str | None,
    games: dict[str, list[bias.Game]],
    alone: Ballots,
    seed: int,
) -> None:
    """One level's tables: with the reference, two by two, as groups, in orders, calibration."""
    name = level.level
    raters = [r for r in reference if r in level.votes] if reference else level.people()
    judges = [j for j in level.judges() if j not in raters and _compared(j, wanted)]
    truth = ballots.majority(level, raters)
    rows = [r for j in judges if (r := agreement.with_reference(level, j, truth, seed=seed))]
    human = agreement.people(level, raters) if len(raters) > 1 else None
    costs = {r["judge"]: r["cost_usd"] for r in found.rows("outcomes")}
    _price(rows, costs, {j: _labels(level, j, alone) for j in judges})
    found.add(
        f"agreement_{name}",
        f"With {_said(raters)}, on {name}",
        [*rows, *([human] if human else [])],
    )
    if by is not None:
        found.add(f"agreement_{name}_by_{by}", f"With {_said(raters)}, by {by}", [
            {by: value} | r
            for value, prompts in ballots.groups(store, by).items()
            for part in [level.within(prompts)]
            for j in judges
            if (r := agreement.with_reference(part, j, ballots.majority(part, raters), seed=seed))
        ])  # fmt: skip
    shown = [*judges, *(raters if len(raters) <= agreement.MOST_RATERS else ())]
    found.add(f"raters_{name}", f"Every two raters, on {name}",
              agreement.two_by_two(level, shown, seed=seed))  # fmt: skip
    groups = {"people": level.people(), "judges": judges, "reference": raters if reference else []}
    found.add(f"groups_{name}", f"Groups of raters, on {name}", [
        r for label, members in groups.items()
        if len(members) > 1 and (r := agreement.among(level, members, name=label, seed=seed))
    ])  # fmt: skip
    if name == "pairs":
        found.add("orders", "Calls that are right, and pairs right in both orders", _some(
            bias.correct_in_orders(j, games.get(j, ()), truth) for j in judges))  # fmt: skip
        found.add("calibration", "Sure and right", _some(
            calibration.calibration(level, j, truth, seed=seed) for j in judges))  # fmt: skip


def _compared(judge: str, wanted: set[str] | None) -> bool:
    """Whether a judge is held to others: the guard that runs by itself judges no quality."""
    return judge in wanted if wanted else not judge.startswith("injection")


def _some(rows: Any) -> list[dict[str, Any]]:
    return [row for row in rows if row]


def _said(raters: Sequence[str]) -> str:
    if len(raters) == 1:
        return raters[0]
    return f"the majority of {len(raters)} people" if raters else "nobody"


def _labels(level: Ballots, judge: str, alone: Ballots) -> float:
    """How many units a judge's calls asked about, with and without a reference.

    A pair that only follows from scores took the calls about two completions: of many that were
    scored, the few that people compared have not cost what all did.
    """
    if _implied(level, judge, alone):
        return len({unit[0] for unit in alone.votes[judge]}) / 2
    return len(level.votes[judge])


def _price(
    rows: list[dict[str, Any]], costs: dict[str, float | None], labels: dict[str, float]
) -> None:
    """Dollars per right label: what a judge's calls cost over the labels that it gets right.

    `labels` is how many units its calls asked about. The dearest case is the lowest agreement, so
    the interval's ends change places.
    """
    for row in rows:
        cost = costs.get(row["judge"])
        for end, agreed in (("", ""), ("_low", "_high"), ("_high", "_low")):
            share = row[f"agreement_asked{agreed}"]
            row[f"usd_per_right_label{end}"] = (
                cost / (share * labels[row["judge"]])
                if cost is not None and isinstance(share, float) and share > 0
                else None
            )


def _checks(store: Store, found: Audit, wanted: set[str] | None) -> list[dict[str, Any]]:
    """Each promise of each judge's file: kept, missed, or too few rows to say."""
    agreed = {r["judge"]: r for r in found.rows("agreement_completions")}
    agreed |= {r["judge"]: r for r in found.rows("agreement_pairs")}
    rows: list[dict[str, Any]] = []
    for out in found.rows("outcomes"):
        judge = out["judge"]
        try:
            asks = files.load(judge, workspace=store.workspace).front.thresholds
        except FactoryError:
            continue  # recorded judges have no file here
        for name in ("unparsed", "refused", "truncated", "error"):
            rows += _check(judge, name, out, most=getattr(asks, name), least=None)
        # A promise that nothing here can tell anything of is shown as such, and not left out.
        if asks.agreement:
            with_people = agreed.get(judge, {})
            name = "agreement" if "n_decided" not in with_people else "agreement_decided"
            rows += _check(judge, name, with_people, most=None, least=asks.agreement)
        if asks.consistent:
            biased = next((r for r in found.rows("bias") if r["judge"] == judge), {})
            rows += _check(judge, "consistent", biased, most=None, least=asks.consistent)
    return rows


def _check(
    judge: str, name: str, row: dict[str, Any], *, most: float | None, least: float | None
) -> list[dict[str, Any]]:
    """`fails` only where the whole interval is beyond the threshold: bad luck stops nobody."""
    value, low, high = row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high")
    limit = most if most is not None else least
    if limit is None or (most is not None and most >= 1):
        return []
    if value is None or not isinstance(low, float) or not isinstance(high, float):
        verdict = "too few"
    elif most is not None:
        verdict = "fails" if low > most else "keeps" if high <= most else "unsure"
    else:
        verdict = "fails" if high < limit else "keeps" if low >= limit else "unsure"
    return [
        {
            "judge": judge, "promise": f"{name} {'<=' if most is not None else '>='} {limit:g}",
            "value": value, "low": low, "high": high, "verdict": verdict,
        }
    ]  # fmt: skip


__all__ = ["Audit", "Unit", "audit"]
