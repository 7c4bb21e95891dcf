"""The card of an exported set: what it is, its numbers from SQL, its licences and its lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from factory.exporting.versions import DatasetVersion

_WHAT = {
    "preference": "Preference pairs: `chosen` scored strictly higher than `rejected`.",
    "sft": "Rejection-sampled SFT examples: the best-scored completions of each prompt.",
}


def card(
    version: DatasetVersion,
    *,
    files: Mapping[str, Sequence[str]],
    counts: Mapping[str, int],
    numbers: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]],
    licenses: Sequence[Mapping[str, Any]],
    drops: Sequence[Mapping[str, Any]],
) -> str:
    """README.md of a set.

    Args:
        version: what is exported.
        files: split -> data files.
        counts: split -> rows.
        numbers: statistics of the whole set, shown in this order.
        models: who wrote the completions.
        licenses: license, source, rows and share of the prompts.
        drops: stage, reason and count of what was left out.
    """
    said = version.manifest
    lines = [
        *_front(files, licenses),
        f"# {plain(said['name'])}",
        "",
        _WHAT[version.kind],
        "",
        "## Numbers",
        "",
        *table([{"what": k.replace("_", " "), "value": v} for k, v in numbers.items()]),
        *table([{"split": split, "rows": n} for split, n in counts.items()]),
        "## Models",
        "",
        *table(models),
        "## Licences of the prompts",
        "",
        *table(licenses),
        *_warning(licenses),
        "Completions are also subject to the terms of the models that wrote them.",
        "",
        "## Left out",
        "",
        *(table(drops) or ["Nothing.", ""]),
        "## Lineage",
        "",
        *table([{"what": k, "value": v} for k, v in _lineage(version).items()]),
        "```sql",
        str(said["strategy_sql"]).rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as a Markdown table and a blank line; nothing where there are none."""
    if not rows:
        return []
    names = list(rows[0])
    body = ["| " + " | ".join(plain(row[n]) for n in names) + " |" for row in rows]
    return ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names), *body, ""]


def plain(value: object) -> str:
    """One line of text that cannot leave its cell: names in a store may come from anywhere."""
    text = " ".join(str(value).encode("utf-8", "replace").decode("utf-8").split())
    return "".join("\\" + c if c in "|<>[]`*_#\\" else c for c in text)


def _front(files: Mapping[str, Sequence[str]], licenses: Sequence[Mapping[str, Any]]) -> list[str]:
    names = {str(row["license"]) for row in licenses}
    front = {
        "license": "other" if len(names) != 1 else names.pop().lower(),
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": s, "path": list(paths)} for s, paths in files.items()],
            }
        ],
    }
    return ["---", yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(), "---", ""]


def _warning(licenses: Sequence[Mapping[str, Any]]) -> list[str]:
    names = {str(row["license"]) for row in licenses}
    closed = sorted(n for n in names if "NC" in n.upper().replace("-", " ").split())
    lines: list[str] = []
    if closed:
        lines.append(
            f"**Not for commercial use:** some prompts are {', '.join(map(plain, closed))}."
        )
    if "unknown" in names:
        lines.append("**Unknown licence:** some prompts say nothing of theirs.")
    return [*lines, ""] if lines else []


def _lineage(version: DatasetVersion) -> dict[str, Any]:
    said = version.manifest
    selection = said["selection"]
    return {
        "version": version.version_id,
        "content hash": version.content_hash,
        "rows with token ids": version.n_trainable,
        "strategy": said["strategy"],
        "strategy id": said["strategy_id"],
        "run": selection["run_id"] or "",
        "round": "all" if selection["round"] is None else selection["round"],
        "recipe id": said["recipe_id"],
        "prefactory": said["code_version"],
    }
