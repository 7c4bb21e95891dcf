"""The recipe: one YAML file that says what a whole run does.

Values come from the file, then the environment (`FACTORY__SAMPLING__N=4`), then flags
(`--set sampling.n=4`). An unknown name is an error that says where it stands and which name was
probably meant. This is the only module that reads the environment.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from factory import rooms
from factory.errors import RecipeError
from factory.rows import SamplingParams, content_id

ENV_PREFIX = "FACTORY__"
Share = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pool(_Section):
    """Prompts from files, from a Hugging Face dataset, or made by a generator."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    files: tuple[str, ...] = ()
    dataset: str | None = None
    """A Hugging Face dataset: `owner/name`, or a directory made by `save_to_disk`."""
    make: str | None = None
    """A generator, as `toyworld`."""
    rows: int | None = Field(default=None, gt=0)
    map: dict[str, str] = Field(default_factory=dict)
    license: str = ""
    domain: str = ""
    lang: str = ""
    weight: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _one_source(self) -> Pool:
        if sum((bool(self.files), self.dataset is not None, self.make is not None)) != 1:
            raise ValueError("a pool needs exactly one of files, dataset, make")
        return self


class Splits(_Section):
    """Shares of the prompts that are kept from training, by hash."""

    gate: Share = 0.1
    dev: Share = 0.02


class Prompts(_Section):
    """Where prompts come from and how many a round uses."""

    pools: tuple[Pool, ...] = Field(min_length=1)
    split: Splits = Splits()
    per_round: int = Field(default=1000, gt=0)
    reuse: bool = False
    """Whether a later round may draw a prompt again while fresh ones are left."""


class Starter(_Section):
    """A first checkpoint made here: random weights, fine-tuned on demonstrations."""

    demonstrations: str
    """A generator of demonstrations, as `toyworld`."""
    rows: int = Field(gt=0)
    architecture: dict[str, Any] = Field(default_factory=dict)
    sft: dict[str, Any] = Field(default_factory=dict)
    """Training settings, as `training.sft`."""


class Policy(_Section):
    """The model that is improved: a directory of weights, or a starter made from nothing."""

    model: str | None = None
    starter: Starter | None = None
    line: str = Field(default="policy", pattern=r"^[A-Za-z0-9._-]+$")
    """Name of the champion pointer; two recipes of one line improve the same model."""

    @model_validator(mode="after")
    def _one_source(self) -> Policy:
        if (self.model is None) == (self.starter is None):
            raise ValueError("a policy needs exactly one of model, starter")
        return self


class Reference(_Section):
    """Another model that answers the same prompts."""

    name: str
    model: str
    n: int = Field(default=1, gt=0)


class Sampling(_Section):
    """How completions are drawn."""

    engine: Literal["auto", "vllm", "transformers", "echo"] = "auto"
    n: int = Field(default=8, gt=0)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    min_p: float = Field(default=0.0, ge=0, le=1)
    max_tokens: int = Field(default=1024, gt=0)
    stop: tuple[str, ...] = ()
    repetition_penalty: float = Field(default=1.0, gt=0)
    max_model_len: int | None = None
    shard: int = Field(default=4096, gt=0)
    """Completions a shard: one task, one commit."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Passed to the engine as they are."""
    references: tuple[Reference, ...] = ()

    def params(self) -> SamplingParams:
        """The part that is a completion's identity."""
        return SamplingParams(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            max_tokens=self.max_tokens,
            stop=self.stop,
            repetition_penalty=self.repetition_penalty,
        )


class Price(_Section):
    """US dollars per million tokens."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)
    cached_input: float | None = Field(default=None, ge=0)


class Endpoint(_Section):
    """An OpenAI-compatible server."""

    base_url: str = Field(pattern=r"^https?://")
    model: str
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself is never written."""
    price: Price = Price()
    max_concurrency: int = Field(default=64, gt=0)
    timeout_s: float = Field(default=120.0, gt=0)
    max_attempts: int = Field(default=6, gt=0)
    in_doubt: Literal["resend", "hold"] = "resend"
    extra_body: dict[str, Any] = Field(default_factory=dict)

    def api_key(self) -> str | None:
        """The key, from the environment.

        Raises:
            RecipeError: when the recipe names a variable that is not set.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env)
        if not key:
            raise RecipeError(
                f"the environment variable {self.api_key_env} is not set",
                next=f"export {self.api_key_env}=…",
            )
        return key


class Judging(_Section):
    """Who scores completions."""

    judges: tuple[str, ...] = Field(min_length=1)
    """Names of files in judges/."""
    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    assign: dict[str, str] = Field(default_factory=dict)
    """Judge -> endpoint; a judge that is absent uses the only endpoint."""
    budget_usd: float | None = Field(default=None, ge=0)
    comparisons: int = Field(default=4, gt=0)
    """Pairs of completions a prompt that a pairwise judge compares."""
    shard: int = Field(default=2000, gt=0)

    def endpoint_of(self, judge: str) -> str | None:
        """Name of the endpoint a judge asks, or None when there is none."""
        return self.assign.get(judge) or next(iter(self.endpoints), None)


class Pairing(_Section):
    """How pairs and SFT examples are built."""

    strategy: str = "best_vs_worst"
    params: dict[str, float | int | str] = Field(default_factory=dict)
    judge: str | None = None
    """Whose scores; by default the first of judging.judges."""
    sft: str | None = "best_of_n"
    sft_params: dict[str, float | int | str] = Field(default_factory=dict)


class Training(_Section):
    """How a candidate is trained from the champion."""

    kind: Literal["dpo", "sft"] = "dpo"
    dpo: dict[str, Any] = Field(default_factory=dict)
    sft: dict[str, Any] = Field(default_factory=dict)


class Gate(_Section):
    """How a candidate earns promotion on held-out prompts."""

    prompts: int = Field(default=200, gt=0)
    samples: int = Field(default=4, gt=0)
    judge: str | None = None
    """A verifier or pointwise judge; by default the pairing judge."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_win_rate: float = Field(default=0.5, ge=0, lt=1)


class Schedule(_Section):
    """When `prefactory deploy` runs the next round."""

    cron: str
    timezone: str = "UTC"


class Recipe(_Section):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    description: str = ""
    seed: int = 0
    rounds: int = Field(default=1, gt=0)
    prompts: Prompts
    policy: Policy
    sampling: Sampling = Sampling()
    judging: Judging
    pairing: Pairing = Pairing()
    training: Training = Training()
    gate: Gate = Gate()
    schedule: Schedule | None = None

    @model_validator(mode="after")
    def _judges_exist(self) -> Recipe:
        for where, judge in (
            ("pairing.judge", self.pairing.judge),
            ("gate.judge", self.gate.judge),
        ):
            if judge is not None and judge not in self.judging.judges:
                raise ValueError(f"{where}: {judge!r} is not one of judging.judges")
        for judge, endpoint in self.judging.assign.items():
            if endpoint not in self.judging.endpoints:
                raise ValueError(f"judging.assign.{judge}: no endpoint is called {endpoint!r}")
        return self

    @property
    def pair_judge(self) -> str:
        """Whose scores make pairs."""
        return self.pairing.judge or self.judging.judges[0]

    @property
    def gate_judge(self) -> str:
        """Whose scores decide on promotion."""
        return self.gate.judge or self.pair_judge

    @property
    def recipe_id(self) -> str:
        """Identity of what the recipe does: everything but how often and when."""
        body = self.model_dump(mode="json", exclude={"rounds", "schedule", "description"})
        return content_id("recipe", body)

    @property
    def run_id(self) -> str:
        """Id of the run of this recipe: the same recipe goes on with the same run."""
        return content_id("run", self.recipe_id)


def load(
    name: str,
    *,
    workspace: Path | None = None,
    overrides: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Recipe:
    """The recipe of that name or path, with environment and flags on top.

    Args:
        name: a file name in recipes/ without suffix, or a path to a YAML file.
        workspace: whose recipes/ overrides the packaged ones.
        overrides: `section.field=value` strings; values are YAML.
        environ: by default the process environment.

    Raises:
        RecipeError: with file, line, what was expected and the nearest valid name.
    """
    is_path = name.endswith((".yaml", ".yml")) or "/" in name
    content = (
        rooms.read_file(Path(name), suffix=".yaml")
        if is_path
        else rooms.read("recipes", name, suffix=".yaml", workspace=workspace)
    )
    raw, lines = _parse(content)
    for key, value in sorted((os.environ if environ is None else environ).items()):
        if key.startswith(ENV_PREFIX):
            _put(raw, key.removeprefix(ENV_PREFIX).lower().split("__"), value, source=key)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise RecipeError(f"--set {override}: expected field=value", next="--set sampling.n=4")
        _put(raw, key.split("."), value, source=f"--set {key}")
    try:
        return Recipe.model_validate(raw)
    except ValidationError as bad:
        raise RecipeError(_explain(content.path, bad, lines), next=f"edit {content.path}") from None


def _parse(content: rooms.Content) -> tuple[dict[str, Any], dict[tuple[Any, ...], int]]:
    try:
        node = yaml.compose(content.text, Loader=yaml.SafeLoader)
        raw: Any = yaml.safe_load(content.text)
    except yaml.YAMLError as bad:
        mark = getattr(bad, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(bad, "problem", None) or bad
        raise RecipeError(
            f"{content.path}{where}: not YAML: {problem}", next=f"edit {content.path}"
        ) from bad
    if not isinstance(raw, dict):
        raise RecipeError(
            f"{content.path}: a recipe is a mapping of fields", next="prefactory init DIR"
        )
    lines: dict[tuple[Any, ...], int] = {}
    _collect_lines(node, (), lines)
    return raw, lines


def _collect_lines(node: Any, path: tuple[Any, ...], lines: dict[tuple[Any, ...], int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, key.value)] = key.start_mark.line + 1
            _collect_lines(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _collect_lines(value, (*path, index), lines)


def _put(raw: dict[str, Any], path: list[str], value: str, *, source: str) -> None:
    at: Any = raw
    for part in path[:-1]:
        if isinstance(at, list) and part.isdigit() and int(part) < len(at):
            at = at[int(part)]
        elif isinstance(at, dict):
            at = at.setdefault(part, {})
        else:
            raise RecipeError(f"{source}: {part!r} is not a section", next="--set sampling.n=4")
    if not isinstance(at, dict):
        raise RecipeError(f"{source}: sets a field of something that has none", next="")
    try:
        at[path[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as bad:
        raise RecipeError(f"{source}: {value!r} is not a YAML value", next="") from bad


def _explain(path: Path, bad: ValidationError, lines: Mapping[tuple[Any, ...], int]) -> str:
    """One sentence a problem: file, line, field, what was expected, the nearest valid name."""
    said: list[str] = []
    for error in bad.errors():
        where: tuple[Any, ...] = tuple(error["loc"])
        line = next(
            (lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), None
        )
        field = ".".join(str(part) for part in where) or "recipe"
        place = f"{path}" + (f" line {line}" if line else "")
        said.append(f"{place}: {field}: {_expected(where, error)}")
    return "; ".join(said)


def _expected(where: tuple[Any, ...], error: Any) -> str:
    if error["type"] != "extra_forbidden":
        given = "" if error["type"] == "missing" else f" (given {error['input']!r:.80})"
        return f"{error['msg'].removeprefix('Value error, ')}{given}"
    valid = sorted(_fields_at(where[:-1]))
    near = difflib.get_close_matches(str(where[-1]), valid, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(valid)}"
    return f"no such field; {hint}"


def _fields_at(path: tuple[Any, ...]) -> set[str]:
    """Names of the fields of the section at a path."""
    section: Any = Recipe
    for part in path:
        if isinstance(part, int) or not _is_section(section):
            continue
        field = section.model_fields.get(part)
        section = _section_in(field.annotation) if field else None
    return set(section.model_fields) if _is_section(section) else set()


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _section_in(annotation: Any) -> Any:
    if _is_section(annotation):
        return annotation
    if get_origin(annotation) is Literal:
        return None
    return next((s for s in map(_section_in, get_args(annotation)) if s is not None), None)


class WorkspaceConfig(_Section):
    """workspace.yaml: where the ledger and the lake are."""

    ledger: str | None = None
    lake: str | None = None


def workspace_config(
    workspace: Path, *, environ: Mapping[str, str] | None = None
) -> WorkspaceConfig:
    """The workspace's URLs: file, then `FACTORY_LEDGER` and `FACTORY_LAKE`.

    Raises:
        RecipeError: when the file cannot be read as that.
    """
    environment = os.environ if environ is None else environ
    path = workspace / "workspace.yaml"
    raw: dict[str, Any] = {}
    if path.exists():
        content = rooms.read_file(path)
        raw = (yaml.safe_load(content.text) or {}) if content.text.strip() else {}
    for field in ("ledger", "lake"):
        if environment.get(f"FACTORY_{field.upper()}"):
            raw[field] = environment[f"FACTORY_{field.upper()}"]
    try:
        return WorkspaceConfig.model_validate(raw)
    except ValidationError as bad:
        raise RecipeError(_explain(path, bad, {}), next=f"edit {path}") from None


def default_workspace(environ: Mapping[str, str] | None = None) -> Path:
    """`FACTORY_WORKSPACE`, else the current directory."""
    environment = os.environ if environ is None else environ
    return Path(environment.get("FACTORY_WORKSPACE") or ".")
