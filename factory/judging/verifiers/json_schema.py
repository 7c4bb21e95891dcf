"""JSON schema: the answer is one JSON value that fits a schema.

Arguments: `schema` (JSON Schema, 2020-12 unless it names another); `fenced` (true: a single
Markdown code block around the JSON is allowed). References to other documents are never fetched.
Patterns in a schema can take exponential time on hostile text, so this verifier runs under a time
limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, cast

from factory.judging.outcomes import Verdict, failed, good
from factory.judging.verifiers._read import args_of

VERSION = "2"
ISOLATED = True

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", re.DOTALL | re.IGNORECASE)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 where the text is JSON and valid under the schema."""
    import jsonschema
    from jsonschema.validators import extend, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    args = args_of(prompt)
    schema = args.get("schema")
    if not isinstance(schema, dict):
        return failed("error", "no_schema")
    schema = cast("dict[str, object]", schema)
    checker = validator_for(schema)
    try:
        checker.check_schema(schema)
    except jsonschema.SchemaError:
        return failed("error", "bad_schema")
    fenced = _FENCE.fullmatch(text) if args.get("fenced", True) else None
    try:
        # NaN and Infinity are Python's idea, not JSON's.
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return good(0.0, reason="not_json")
    exact = extend(checker, {"multipleOf": _multiple_of})
    try:
        # An empty registry: a "$ref" to a URL must not reach the network.
        return good(float(exact(schema, registry=Registry()).is_valid(value)))
    except (Unresolvable, RecursionError):
        return failed("error", "bad_schema")


def _multiple_of(checker: Any, step: Any, value: Any, schema: Any) -> Iterator[Exception]:
    """19.99 is a multiple of 0.01 in decimals, and with binary fractions it is not."""
    from jsonschema import ValidationError

    if not checker.is_type(value, "number"):
        return
    try:
        whole = (Fraction(repr(value)) / Fraction(repr(step))).denominator == 1
    except (ValueError, ZeroDivisionError):  # 1e999 is read as infinity
        whole = False
    if not whole:
        yield ValidationError(f"not a multiple of {step}")
