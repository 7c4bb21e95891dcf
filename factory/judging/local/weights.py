"""A local model is its weights: the identity of a judge whose model is a directory (law 2).

The same bytes under another path are the same judge; other bytes under the same path another one.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from factory.errors import UserError
from factory.rows import content_id

_ALSO = (
    "config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json",
    "merges.txt", "vocab.txt", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja",
)  # fmt: skip
_BLOCK = 8 << 20


def digest(model: Path) -> str:
    """Hash of a model directory: weights, architecture, tokenizer and chat template.

    Raises:
        UserError: where the directory or its safetensors weights are missing.
    """
    weights = sorted(model.glob("*.safetensors"))
    if not (model / "config.json").is_file() or not weights:
        raise UserError(
            f"{model} holds no model: config.json and *.safetensors are needed",
            next="name a directory made by save_pretrained",
        )
    files = [*weights, *(model / name for name in _ALSO if (model / name).is_file())]
    return content_id("model-directory", [[f.name, _hash_of(f)] for f in files])


def _hash_of(file: Path) -> str:
    stat = file.stat()
    return _hash(str(file.resolve()), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def _hash(path: str, _changed: int, _renamed: int, _size: int) -> str:
    """Kept while the file's times and size are what they were: a stage asks many times."""
    found = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
