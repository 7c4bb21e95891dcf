"""Models by what they are: found by a name once, then known by the hash of their bytes (law 2)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from factory.errors import RecipeError, UserError
from factory.sampling import remote
from factory.stages.progress import Progress
from factory.store import Store, devices, weights

if TYPE_CHECKING:
    from factory.sampling.identity import ModelIdentity
    from factory.training.config import TrainConfig, TrainJob

Model = TypeVar("Model", bound=BaseModel)
Stamps = tuple[tuple[str, int, int, int, int], ...]


def locate(name: str) -> Path:
    """Where a model is: a directory, a file that declares a remote one, or a hub name.

    A hub name is fetched only where the network is allowed.

    Raises:
        UserError: when there is no such directory and the hub cannot give it.
    """
    path = Path(name).expanduser()
    if path.is_dir() or remote.is_remote(path):
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
    from factory.sampling.verb import register_model

    found = identity(path)
    kind = remote.KIND if remote.is_remote(path) else kind
    added = register_model(
        store, found, name=name or path.name, kind=kind, uri=weights.written(store, path),
        parent=parent, run_id=run_id,
    )  # fmt: skip
    if not added:
        weights.seen_at(store, found.model_id, path, run_id=run_id)
    return found.model_id


def tokeniser_of_answers(store: Store) -> Callable[[str, Any, str], Any]:
    """Reads a text as the model that answered the same prompt does; None where that is gone."""
    known: dict[str, Path | None] = {}

    def place(model_id: str) -> Path | None:
        try:
            return parts(directory(store, model_id))[0]
        except UserError:
            return None

    def tokenise(model_id: str, messages: Any, text: str) -> tuple[list[int], list[int]] | None:
        from factory.sampling.render import tokenise_completion

        if model_id not in known:
            known[model_id] = place(model_id)
        model_dir = known[model_id]
        if model_dir is None:
            return None
        found = tokenise_completion(model_dir, messages, text)
        return found.prompt_token_ids, found.token_ids

    return tokenise


def directory(store: Store, model_id: str) -> Path:
    """Where a model's weights are: the newest place they were registered at that is still there.

    Raises:
        UserError: when no such directory is left.
    """
    known = weights.places(store, model_id)
    if not known:
        raise UserError(f"no model {model_id} is registered", next='prefactory sql "from models"')
    for path in known:
        if path.is_dir() or remote.is_remote(path):
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
    path = directory(store, model_id)
    now = identity(path).model_id
    if now != model_id:
        raise UserError(
            f"{path} changed: it holds model {now}, not {model_id}",
            next="put the old weights back, or start a run with a new policy.line",
        )
    return path


def identity(place: Path) -> ModelIdentity:
    """What a model is: by its bytes, or as its file declares it where they are elsewhere."""
    from factory.sampling.identity import identify

    if remote.is_remote(place):
        return remote.identify(place)
    model, adapter = parts(place)
    return identify(model, adapter=adapter)


class Unchanged:
    """Checks between shards that models are still what their ids say.

    The bytes are hashed once; after that only the files' sizes, times and inodes are looked at, and
    the bytes again when one of those moved.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[Path, Stamps]] = {}
        self._lock = threading.Lock()

    def check(self, model_id: str) -> Path:
        """Where the model is; raises as `check_unchanged` does."""
        with self._lock:
            path, stamps = self._known.get(model_id, (None, None))
            if path is not None and stamps and _stamps(path) == stamps:
                return path
            # Before the bytes: what changes while they are read is seen next time.
            stamps = _stamps(directory(self._store, model_id))
            path = check_unchanged(self._store, model_id)
            self._known[model_id] = (path, stamps)
            return path


def _stamps(place: Path) -> Stamps:
    """Size, times and inode of every file of a model and its adapter."""
    try:
        found = [f for part in parts(place) if part for f in sorted(part.iterdir()) if f.is_file()]
        found += [place] if place.is_file() else []
        stats = [(str(f), f.stat()) for f in found]
    except (OSError, UserError):
        return ()  # something is missing: the bytes will say what
    return tuple((n, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for n, s in stats)


def parts(place: Path) -> tuple[Path, Path | None]:
    """A model directory as it is; an adapter's directory as the model below it and the adapter.

    Of a remote model, the directory that reads its texts.

    Raises:
        UserError: when the adapter names no base model that is here, or lies among its weights.
    """
    if remote.is_remote(place):
        return remote.reader_of(place), None
    named = place / "adapter_config.json"
    if not named.is_file():
        return place, None
    if (place / "config.json").is_file():
        raise UserError(
            f"{place} holds a model and an adapter, and which of them is meant is not said",
            next=f"mv {place}/adapter_* to a directory of their own",
        )
    try:
        base = str(json.loads(named.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (ValueError, LookupError, TypeError) as bad:
        raise UserError(f"{named} names no base_model_name_or_path", next=f"head {named}") from bad
    beside = place / base
    return (beside.resolve() if beside.is_dir() else locate(base)), place


def whole(place: Path) -> Path:
    """A model directory; an adapter and a remote model are refused.

    Raises:
        UserError: for what nothing can be trained from here.
    """
    if remote.is_remote(place):
        raise UserError(
            f"{place} is a remote model: its weights are not here to be trained",
            next="set policy.model to a directory of weights",
        )
    if parts(place)[1] is not None:
        raise UserError(
            f"{place} is an adapter: it can be sampled from, and not trained from",
            next="merge it into its model (peft: merge_and_unload) and use that directory",
        )
    return place


def find(store: Store, name: str, *, kind: str, run_id: str) -> str:
    """model_id of a directory, an id that is registered (its first letters do), or a hub name."""
    path = Path(name).expanduser()
    if not (path.is_dir() or remote.is_remote(path)):
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
    """FIELD=VALUE words as pairs; values are YAML.

    Raises:
        RecipeError: for a word that is not of that form.
    """
    import yaml

    found: list[tuple[str, Any]] = []
    for word in overrides:
        key, equals, value = word.partition("=")
        try:
            found.append((key, yaml.safe_load(value)))
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise RecipeError(
                f"--set {word}: expected FIELD=VALUE, the value in YAML", next="--set n=4"
            )
    return found


def nested(overrides: Sequence[str], *, section: str) -> dict[str, Any]:
    """FIELD=VALUE words as a section's values; `section.` may be said and left out.

    Raises:
        RecipeError: for a word that is not of that form, or a field of what has no fields.
    """
    found: dict[str, Any] = {}
    for key, value in given(overrides):
        at = found
        *outer, last = key.removeprefix(f"{section}.").split(".")
        for name in outer:
            at = at.setdefault(name, {})
            if not isinstance(at, dict):
                raise RecipeError(
                    f"--set {key}: {name} was given a value and has no fields", next="--set n=4"
                )
        at[last] = value
    return found


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

    from factory.recipe.loading import fields_at

    where = ".".join([field, *(str(part) for part in error["loc"])])
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    known = sorted(fields_at(error["loc"][:-1], of=kind))
    near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
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
