"""What several verifiers read from a prompt's row: its reference, constraints and arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from factory.judging.outcomes import Verdict, failed

NO_REFERENCE: Verdict = failed("error", "prompt_has_no_reference")


def reference_of(prompt: Mapping[str, object]) -> str | None:
    """The known answer, or None."""
    value = prompt.get("reference")
    return None if value is None or not str(value).strip() else str(value)


def args_of(prompt: Mapping[str, object]) -> dict[str, object]:
    """Arguments: the judge file's, overridden by the prompt's own constraints (a JSON object).

    Raises:
        ValueError: when the constraints are not a JSON object.
    """
    args = dict(cast("Mapping[str, object]", prompt.get("args") or {}))
    constraints = prompt.get("constraints")
    if isinstance(constraints, str) and constraints.strip():
        constraints = json.loads(constraints)
    if constraints is None or constraints == "":
        return args
    if not isinstance(constraints, Mapping):
        raise ValueError("constraints are not a JSON object")
    return args | dict(cast("Mapping[str, object]", constraints))
