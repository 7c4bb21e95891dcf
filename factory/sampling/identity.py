"""A model is its weights: `model_id` is a hash of bytes, never a path or a name.

New weights under an old path get a new id, old weights under a new path keep theirs. What makes up
the identity: the weight files, the architecture in config.json, the adapter, the tokenizer, the
chat template, the number format that the model runs in, and the tokens that generation_config.json
lets an answer end at. The rest of that file, READMEs and the library version that wrote the files
are not part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.rows import content_id

WEIGHTS_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tekken.json",
    "added_tokens.json",
    "special_tokens_map.json",
)
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
                 "vocab.json", "vocab.txt", "tekken.json")  # fmt: skip
# Keys that name where a file came from or which library wrote it, not what the model is.
_VOLATILE = {"_name_or_path", "name_or_path", "transformers_version", "tokenizer_file",
             "chat_template", "dtype", "torch_dtype", "use_cache", "is_local",
             "local_files_only"}  # fmt: skip
_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len",
            "max_sequence_length")  # fmt: skip
"""What architectures call their context, as GPT-2, MPT and ChatGLM do beside the usual name."""
_SETTLED_NS = 2_000_000_000
"""A file changed this recently may change again within one tick of a coarse clock: not cached."""
_BLOCK = 8 << 20


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The digests that make up a model's id. `adapter_digest` is empty without an adapter."""

    model_id: str
    weights_digest: str
    adapter_digest: str
    tokenizer_digest: str
    template_digest: str
    dtype: str


def identify(
    model_dir: Path,
    *,
    adapter: Path | None = None,
    dtype: str = "auto",
    cache: Path | None = None,
) -> ModelIdentity:
    """Hash a model directory.

    Args:
        model_dir: a Hugging Face model directory with safetensors weights.
        adapter: a PEFT adapter directory that is applied on top.
        dtype: the number format it runs in; "auto" is the checkpoint's own.
        cache: a small JSON file of file digests; an entry counts only while the file's size,
            modification and change times and inode are what they were.

    Raises:
        UserError: when weights, tokenizer or chat template are missing or weights are pickles.
    """
    config = read_config(model_dir)
    weights = weight_files(model_dir)
    tokenizer = _tokenizer_files(model_dir)
    adapters = _adapter_files(adapter) if adapter else []
    digests = _digests([*weights, *tokenizer, *adapters], cache)

    def of(domain: str, files: Iterable[Path], more: object) -> str:
        return _content(domain, files, digests, more)

    resolved = resolve_dtype(model_dir, dtype)
    parts = {
        "weights_digest": of("weights", weights, _stable(config)),
        "adapter_digest": of("adapter", adapters, _adapter_config(adapter)) if adapter else "",
        "tokenizer_digest": _tokenizer_digest(model_dir, tokenizer, digests),
        "template_digest": content_id("template", chat_template(model_dir)),
        "dtype": resolved,
    }
    ends = _own_ends(model_dir, config)
    told = parts if ends is None else {**parts, "ends": ends}
    return ModelIdentity(model_id=content_id("model", told), **parts)


def reading_digests(model_dir: Path) -> tuple[str, str]:
    """The digests of a model directory's tokenizer and chat template, without its weights.

    Raises:
        UserError: when one of them is missing.
    """
    files = _tokenizer_files(model_dir)
    digest = _tokenizer_digest(model_dir, files, _digests(files, None))
    return digest, content_id("template", chat_template(model_dir))


def _tokenizer_files(model_dir: Path) -> list[Path]:
    require_tokenizer(model_dir)
    return [model_dir / n for n in _TOKENIZER_FILES if (model_dir / n).is_file()]


def _tokenizer_digest(model_dir: Path, files: list[Path], digests: Mapping[Path, str]) -> str:
    more = _stable(_json(model_dir / "tokenizer_config.json"))
    return _content("tokenizer", files, digests, more)


def _content(domain: str, files: Iterable[Path], digests: Mapping[Path, str], more: object) -> str:
    return content_id(domain, [sorted([f.name, digests[f]] for f in files), more])


def _own_ends(model_dir: Path, config: Mapping[str, Any]) -> list[int] | None:
    """Tokens that end an answer by generation_config.json; None where config.json says the same.

    An end token that is added there stops answers that went on before: they are another model's.
    """
    file = model_dir / "generation_config.json"
    ends = _ids(_json(file).get("eos_token_id"))
    return None if not file.is_file() or ends == _ids(config.get("eos_token_id")) else ends


def _ids(said: object) -> list[int]:
    listed: list[Any] = said if isinstance(said, list) else [said]
    return sorted({int(i) for i in listed if isinstance(i, int)})


def resolve_dtype(model_dir: Path, dtype: str = "auto") -> str:
    """The number format a model runs in: the asked one, else config.json's, else float32."""
    if dtype != "auto":
        return {"half": "float16", "float": "float32", "bf16": "bfloat16"}.get(dtype, dtype)
    config = read_config(model_dir)
    text = config.get("text_config")
    nested = text if isinstance(text, dict) else {}
    found = config.get("dtype") or config.get("torch_dtype") or nested.get("dtype")
    return str(found or "float32").removeprefix("torch.")


def context_length(model_dir: Path, max_model_len: int | None = None) -> int | None:
    """Longest prompt plus completion in tokens: the recipe's, else config.json's."""
    if max_model_len is not None:
        return max_model_len
    config = read_config(model_dir)
    text = config.get("text_config")
    known = text if isinstance(text, dict) else config
    found = next((known[name] for name in _CONTEXT if isinstance(known.get(name), int)), None)
    return int(found) if found is not None else None


def read_config(model_dir: Path) -> dict[str, Any]:
    """config.json of a model directory.

    Raises:
        UserError: when the directory or the file is not there.
    """
    if not model_dir.is_dir():
        raise UserError(
            f"{model_dir} is not a model directory",
            next=f"ls {model_dir.parent}",
        )
    if not (model_dir / "config.json").is_file():
        raise UserError(
            f"{model_dir} has no config.json, so it is not a Hugging Face model directory",
            next=f"ls {model_dir}",
        )
    return _json(model_dir / "config.json")


def weight_files(model_dir: Path) -> list[Path]:
    """The safetensors files that hold the model's weights: one file, or the shards of its index.

    Raises:
        UserError: when there are none, only pickles, or two sets of them, or a shard of the index
            is missing.
    """
    index, single = model_dir / WEIGHTS_INDEX, model_dir / "model.safetensors"
    if index.is_file():
        files = [model_dir / n for n in sorted(set(_json(index)["weight_map"].values()))]
        for file in files:
            if file.parent != model_dir or not file.is_file():
                raise UserError(
                    f"{model_dir} lacks {file.name}, which its {WEIGHTS_INDEX} names",
                    next="copy the whole checkpoint again",
                )
        if single.is_file() and single not in files:
            # transformers reads the one, vLLM the others: completions would bear a wrong id.
            raise UserError(
                f"{model_dir} holds two sets of weights, {single.name} and those that its "
                f"{WEIGHTS_INDEX} names, and which is meant is not said",
                next=f"mv {model_dir / WEIGHTS_INDEX} elsewhere, or {single.name}",
            )
        return files
    # Without an index vLLM reads every file there is.
    found = sorted(model_dir.glob("*.safetensors"))
    if found:
        return found
    pickles = [p.name for pattern in _PICKLES for p in model_dir.glob(pattern)]
    if pickles:
        raise UserError(
            f"{model_dir} has weights only as {pickles[0]}; that format can run code when it is "
            "loaded, so only safetensors is read",
            next="load it once in transformers and call save_pretrained(..., "
            "safe_serialization=True)",
        )
    raise UserError(f"{model_dir} has no *.safetensors weights", next=f"ls {model_dir}")


def require_tokenizer(model_dir: Path) -> None:
    """Check that a tokenizer lies beside the weights.

    Raises:
        UserError: naming the directory and what is missing.
    """
    if not any((model_dir / name).is_file() for name in _VOCABULARIES):
        raise UserError(
            f"{model_dir} has no tokenizer (tokenizer.json or tokenizer.model)",
            next=f"AutoTokenizer.from_pretrained(BASE_MODEL).save_pretrained({str(model_dir)!r})",
        )


def chat_template(model_dir: Path) -> str:
    """The chat template's text: chat_template.jinja, else tokenizer_config.json's.

    Raises:
        UserError: when there is none.
    """
    file = model_dir / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        found = _json(model_dir / name).get("chat_template")
        if isinstance(found, str):
            return found
        if isinstance(found, list):  # several named templates; chat uses "default"
            named = {t["name"]: t["template"] for t in found}
            if "default" in named:
                return str(named["default"])
    raise UserError(
        f"{model_dir} has no chat template (neither chat_template.jinja nor chat_template in "
        "tokenizer_config.json), so it is unknown how a prompt is put to it",
        next=f"write the model's template to {model_dir / 'chat_template.jinja'}",
    )


# --- hashing ------------------------------------------------------------------------------------


def _digests(files: list[Path], cache: Path | None) -> dict[Path, str]:
    """blake2b-128 of each file's bytes, big files side by side."""
    known = _json(cache) if cache else {}
    keys = {f: _stat_key(f) for f in files}
    digests = {f: known[str(f.resolve())][1] for f in files
               if known.get(str(f.resolve()), [None])[0] == keys[f]}  # fmt: skip
    todo = [f for f in files if f not in digests]
    # hashlib lets go of the interpreter lock while it hashes, so threads are enough.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        digests.update(zip(todo, pool.map(_hash_file, todo), strict=True))
    if cache and todo:
        settled = {str(f.resolve()): [keys[f], digests[f]] for f in todo if _settled(f, keys[f])}
        _write_json(cache, {**known, **settled})
    return digests


def _hash_file(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb", buffering=0) as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _stat_key(file: Path) -> list[int]:
    # The change time is kept too: it cannot be set back the way a modification time can.
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _settled(file: Path, key: list[int]) -> bool:
    """Whether a digest may be remembered: unchanged while it was read, and not changed just now."""
    return _stat_key(file) == key and time.time_ns() - max(key[1], key[2]) > _SETTLED_NS


# --- files --------------------------------------------------------------------------------------


def _adapter_files(adapter: Path) -> list[Path]:
    file = adapter / "adapter_model.safetensors"
    if not file.is_file() or not (adapter / "adapter_config.json").is_file():
        raise UserError(
            f"{adapter} is not an adapter directory (adapter_config.json and "
            "adapter_model.safetensors)",
            next=f"ls {adapter}",
        )
    return [file]


def _adapter_config(adapter: Path) -> dict[str, Any]:
    dropped = {"base_model_name_or_path", "revision", "inference_mode", "peft_version"}
    config = _json(adapter / "adapter_config.json")
    return {k: v for k, v in config.items() if k not in dropped}


def _stable(config: dict[str, Any]) -> dict[str, Any]:
    return {
        k: _stable(v) if isinstance(v, dict) else v for k, v in config.items() if k not in _VOLATILE
    }


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}", next=f"head {file}") from error
    return loaded if isinstance(loaded, dict) else {}


def _write_json(file: Path, value: dict[str, Any]) -> None:
    """Atomic, so that two processes never read half a cache; the last writer wins."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=file.parent, prefix=file.name, delete=False, encoding="utf-8"
    ) as out:
        json.dump(value, out)
    os.replace(out.name, file)
