"""JSON schema: the answer is one JSON value that fits a schema.

Arguments: `schema` (JSON Schema, 2020-12 unless it names another); `fenced` (true: a single
Markdown code block around the JSON is allowed). References to other documents are never fetched.
Patterns in a schema can take exponential time on hostile text, so this verifier runs under a time
limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import cast

from factory.judging.outcomes import Verdict, failed, good
from factory.judging.verifiers._read import args_of

VERSION = "1"
ISOLATED = True

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", re.DOTALL | re.IGNORECASE)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 where the text is JSON and valid under the schema."""
    import jsonschema
    from jsonschema.validators import validator_for
    from referencing import Registry

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
    # An empty registry: a "$ref" to a URL must not reach the network.
    return good(float(checker(schema, registry=Registry()).is_valid(value)))
