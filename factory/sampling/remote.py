"""A model whose weights are elsewhere: a small YAML file says its name, and who serves it.

    remote: gpt-oss-120b
    revision: "2026-08-05"
    tokenizer: /models/policy
    settings: {urls: [http://gpu-7:8000/v1]}
    price: {input: 0.15, output: 0.6}

Its identity is the name and the revision that its user declares, since its bytes cannot be hashed;
URLs are no part of it. The revision is changed by hand when the server's weights change: nobody
else can know. Its texts are kept as `tokenizer` (a model directory, usually the policy's) reads
them, so that reading is part of the identity too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from factory.errors import UserError
from factory.recipe import Price
from factory.rows import content_id
from factory.sampling.identity import ModelIdentity, reading_digests

SUFFIXES = (".yaml", ".yml")
KIND = "remote"
"""`models.kind` of a model that is known by name only: nothing of it is verified."""


class RemoteModel(BaseModel):
    """What the file says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    remote: str = Field(min_length=1)
    """The model's name; it is also what the server is asked for, unless settings.model says."""
    revision: str = Field(min_length=1)
    tokenizer: str
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the `openai` engine."""
    price: Price | None = None
    """Dollars per million tokens; by default that of prices.yaml for this name."""

    def engine_settings(self) -> dict[str, Any]:
        """Settings of the engine that asks for it."""
        price = {"price": self.price.model_dump()} if self.price else {}
        return {"model": self.remote, **price, **self.settings}


def is_remote(place: Path) -> bool:
    """Whether a place is such a file."""
    return place.suffix in SUFFIXES and place.is_file()


def read(place: Path) -> RemoteModel:
    """The file.

    Raises:
        UserError: naming the file and what is wrong in it.
    """
    try:
        return RemoteModel.model_validate(yaml.safe_load(place.read_text(encoding="utf-8")))
    except ValidationError as bad:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in bad.errors())
        raise UserError(f"{place}: {said}", next=f"edit {place}") from None
    except (OSError, ValueError, yaml.YAMLError) as failed:
        raise UserError(f"{place} cannot be read: {failed}", next=f"cat {place}") from failed


def reader_of(place: Path) -> Path:
    """The model directory whose tokenizer and template read its texts."""
    named = Path(read(place).tokenizer).expanduser()
    found = place.parent / named
    if not found.is_dir():
        raise UserError(f"{place}: tokenizer: there is no directory {named}", next=f"edit {place}")
    return found.resolve()


def identify(place: Path) -> ModelIdentity:
    """The identity of a declared model; it has no weights digest."""
    said = read(place)
    tokenizer, template = reading_digests(reader_of(place))
    parts = {
        "weights_digest": "",
        "adapter_digest": "",
        "tokenizer_digest": tokenizer,
        "template_digest": template,
        "dtype": "",
    }
    declared = [said.remote, said.revision, tokenizer, template]
    return ModelIdentity(model_id=content_id("remote-model", declared), **parts)
