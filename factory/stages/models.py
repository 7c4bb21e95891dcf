"""Models by what they are: found by a name once, then known by the hash of their bytes (law 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from factory.errors import RecipeError, UserError
from factory.stages.progress import Progress
from factory.store import Store, devices, weights

if TYPE_CHECKING:
    from factory.training.config import TrainConfig, TrainJob

Model = TypeVar("Model", bound=BaseModel)


def locate(name: str) -> Path:
    """The directory of a model: a path, or a hub name (fetched only where the network is allowed).

    Raises:
        UserError: when there is no such directory and the hub cannot give it.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise UserError(f"there is no model directory {name}", next=f"ls {path.parent}")
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name, allow_patterns=["*.safetensors", "*.json", "*.jinja", "*.model"]
            )
        )
    except Exception as failed:
        raise UserError(
            f"the model {name} is neither a directory nor to be had from the hub: {failed}",
            next=f"hf download {name}  # or give a directory",
        ) from failed


def register(
    store: Store, path: Path, *, kind: str, run_id: str, name: str = "", parent: str = ""
) -> str:
    """Hash a model directory, write its row, and return its model_id.

    Weights that are registered already keep their row; this place is now their newest.
    """
    from factory.sampling.identity import identify
    from factory.sampling.verb import register_model

    found = identify(path)
    added = register_model(
        store, found, name=name or path.name, kind=kind, uri=weights.written(store, path),
        parent=parent, run_id=run_id,
    )  # fmt: skip
    if not added:
        weights.seen_at(store, found.model_id, path, run_id=run_id)
    return found.model_id


def directory(store: Store, model_id: str) -> Path:
    """Where a model's weights are: the newest place they were registered at that is still there.

    Raises:
        UserError: when no such directory is left.
    """
    known = weights.places(store, model_id)
    if not known:
        raise UserError(f"no model {model_id} is registered", next='prefactory sql "from models"')
    for path in known:
        if path.is_dir():
            return path
    raise UserError(
        f"the weights of model {model_id} are gone: {known[0]}",
        next="prefactory rollback  # or put them back",
    )


def check_unchanged(store: Store, model_id: str) -> Path:
    """The directory of a model whose bytes are still what its id says.

    Raises:
        UserError: when something replaced them; nothing is sampled from a model under a wrong name.
    """
    from factory.sampling.identity import identify

    path = directory(store, model_id)
    now = identify(path).model_id
    if now != model_id:
        raise UserError(
            f"{path} changed: it holds model {now}, not {model_id}",
            next="put the old weights back, or start a run with a new policy.line",
        )
    return path


def find(store: Store, name: str, *, kind: str, run_id: str) -> str:
    """model_id of a directory, an id that is registered (its first letters do), or a hub name."""
    path = Path(name).expanduser()
    if not path.is_dir():
        known = store.rows(
            "select distinct model_id from models "
            "where starts_with(model_id, $name) or name = $name",
            {"name": name},
        )
        if len(known) == 1:
            return str(known[0]["model_id"])
        if len(known) > 1:
            raise UserError(
                f"{name} names {len(known)} models",
                next='prefactory sql "select model_id, name, uri from models"',
            )
        path = locate(name)
    return register(store, path.resolve(), kind=kind, run_id=run_id)


def given(overrides: Sequence[str]) -> list[tuple[str, Any]]:
    """FIELD=VALUE words as pairs; values are YAML."""
    import yaml

    return [(key, yaml.safe_load(value)) for key, _, value in (o.partition("=") for o in overrides)]


def validated(kind: type[Model], values: Mapping[str, Any], field: str) -> Model:
    """A section of the recipe that a room defines, with the recipe's kind of error."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as bad:
        said = "; ".join(_problem(field, kind, error) for error in bad.errors())
        raise RecipeError(said, next="edit the recipe") from None


def trainable(config: TrainConfig, field: str) -> TrainConfig:
    """Refuse what would end in a checkpoint that cannot be sampled from."""
    if config.lora is not None and not config.lora.merge:
        raise RecipeError(
            f"{field}.lora.merge: false leaves an adapter, which cannot be a policy on its own",
            next=f"--set {field}.lora.merge=true",
        )
    return config


@contextmanager
def training_devices(
    store: Store, job: TrainJob, *, note: Callable[[str], None]
) -> Iterator[dict[str, str]]:
    """Lease what a training process uses; gives its environment.

    A launcher (`launch`) starts a process on every GPU in sight, so it gets all of them together;
    plain training gets one, since Trainer would split batches over all that it sees.
    """
    every = len(devices.gpus()) if job.launch else 0
    with devices.hold(store.ledger, size=max(1, every), note=note) as (group,):
        yield group.env


def _problem(field: str, kind: type[BaseModel], error: Any) -> str:
    import difflib

    where = ".".join([field, *(str(part) for part in error["loc"])])
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    near = difflib.get_close_matches(str(error["loc"][-1]), kind.model_fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(kind.model_fields)}"
    return f"{where}: no such field; {hint}"


def relay(progress: Progress) -> Callable[[dict[str, Any]], None]:
    """A training child's events as progress."""
    seen: dict[str, int] = {}

    def tell(event: dict[str, Any]) -> None:
        if "steps" in event and "total" not in seen:
            seen["total"] = int(event["steps"])
        step = int(event.get("step", 0))
        if step > seen.get("step", 0):
            progress.advance(step - seen.get("step", 0))
            seen["step"] = step

    return tell
