"""Messages to token ids: the chat template applied once, exactly one BOS.

A prompt is never handed to an engine as a string. Engines that are given a string tokenise it
again, and a tokenizer whose post-processor adds BOS then puts a second one in front of the
template's own (a known silent loss: github.com/princeton-nlp/SimPO issue 21).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from factory.errors import FactoryError
from factory.rows import normal_messages
from factory.sampling.identity import chat_template, read_config, require_tokenizer

# For these the model directory's tokenizer.json says everything, and the plain class reads it.
_PLAIN_CLASSES = {"PreTrainedTokenizerFast", "TokenizersBackend"}


class TemplateRejects(FactoryError):
    """The model's chat template does not accept these messages; the prompt is dropped."""


class Renderer:
    """One model's tokenizer and chat template.

    Raises:
        UserError: when the directory has no tokenizer or no chat template.
    """

    def __init__(self, model_dir: Path) -> None:
        read_config(model_dir)
        require_tokenizer(model_dir)
        self.template = chat_template(model_dir)
        self.tokenizer = load_tokenizer(model_dir)
        self._alone = threading.Lock()
        bos = self.tokenizer.bos_token_id
        # Whether this tokenizer puts BOS in front of plain text is how a model says it needs one.
        wants_bos = bos is not None and self.tokenizer("a")["input_ids"][:1] == [bos]
        self._bos: int | None = bos
        self._wants_bos = wants_bos

    def render(
        self, messages: Sequence[Mapping[str, str]], *, fold_system: bool = False
    ) -> list[int]:
        """Token ids of a prompt, ending where the assistant's turn begins.

        Args:
            messages: the prompt.
            fold_system: where the template rejects a system turn, put its text in front of the
                first user turn, two newlines between. Off by default, since it changes what is
                asked; the prompt is then dropped with the reason `template_rejects_prompt`.

        Raises:
            TemplateRejects: when the template does not accept the messages.
        """
        normal = normal_messages(messages)
        try:
            return self._one_bos(self._apply(normal))
        except TemplateRejects:
            if not (fold_system and normal[0]["role"] == "system" and len(normal) > 1):
                raise
        first = f"{normal[0]['content']}\n\n{normal[1]['content']}"
        return self._one_bos(self._apply([{"role": "user", "content": first}, *normal[2:]]))

    def generation_prompt(self) -> list[int]:
        """Token ids that the template puts before every answer."""
        asked = [{"role": "user", "content": "a"}]
        without = self._apply(asked, answering=False)
        whole = self._apply(asked)
        return whole[len(without) :] if whole[: len(without)] == without else whole

    def _apply(self, messages: list[dict[str, str]], *, answering: bool = True) -> list[int]:
        from jinja2 import TemplateError

        try:
            # A tokenizer sets its padding for each call: another thread's call would then fail.
            with self._alone:
                ids = self.tokenizer.apply_chat_template(
                    messages,
                    chat_template=self.template,
                    add_generation_prompt=answering,
                    tokenize=True,
                    return_dict=False,
                )
        except TemplateError as error:
            raise TemplateRejects(str(error)) from error
        return [int(i) for i in ids]

    def _one_bos(self, ids: list[int]) -> list[int]:
        bos = self._bos
        if bos is None:
            return ids
        start = 0
        while start < len(ids) and ids[start] == bos:
            start += 1
        if start == 0 and not self._wants_bos:
            return ids
        return [bos, *ids[start:]]

    def encode_completion(self, text: str) -> list[int]:
        """Token ids of a completion that came as text; nothing is appended.

        Text that looks like a special token stays text: an end-of-turn that nobody sampled is never
        made up.
        """
        with self._alone:
            ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return [int(i) for i in ids["input_ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens skipped."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


@dataclass(frozen=True, slots=True)
class Retokenised:
    """Recorded text as one tokenizer reads it; a row made of it has `retokenised` set."""

    prompt_token_ids: list[int]
    token_ids: list[int]
    retokenised: bool = True


def tokenise_completion(
    model_dir: Path, messages: Sequence[Mapping[str, str]], text: str
) -> Retokenised:
    """Token ids of a prompt and of a completion that came as text.

    They are this tokenizer's reading of the text, once, at ingest. They need not be the ids that
    the model which wrote it sampled, and they end without a stop token.

    Raises:
        UserError: when the directory has no tokenizer or no chat template.
        TemplateRejects: when the template does not accept the messages.
    """
    renderer = _renderer(str(model_dir), _changed_at(model_dir))
    return Retokenised(renderer.render(messages), renderer.encode_completion(text))


class CharacterRenderer:
    """Messages as characters, for the echo engine where there is no model directory."""

    def render(
        self, messages: Sequence[Mapping[str, str]], *, fold_system: bool = False
    ) -> list[int]:
        """Code points of the contents, one message a line."""
        text = "\n".join(m["content"] for m in normal_messages(messages))
        return [ord(c) for c in text]


def renderer_for(model_dir: Path, *, engine: str) -> Renderer | CharacterRenderer:
    """The renderer of a model directory, kept while its files stay as they are."""
    if engine == "echo" and not (model_dir / "config.json").is_file():
        return CharacterRenderer()
    return _renderer(str(model_dir), _changed_at(model_dir))


def _changed_at(model_dir: Path) -> int:
    """Newest change in the directory: a tokenizer replaced under its path is read again."""
    return max((f.stat().st_ctime_ns for f in model_dir.glob("*") if f.is_file()), default=0)


@lru_cache(maxsize=4)
def _renderer(model_dir: str, _changed: int) -> Renderer:
    return Renderer(Path(model_dir))


def load_tokenizer(model_dir: Path) -> Any:
    """The tokenizer of a model directory, from local files, running no code of the model's."""
    # transformers fills itself in as names are asked for, which two threads must not do at once.
    with _importing:
        return _load_tokenizer(model_dir)


_importing = threading.Lock()
_WORDS_KEPT = 128


def _load_tokenizer(model_dir: Path) -> Any:
    import json

    file = model_dir / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    plain = config.get("tokenizer_class") in _PLAIN_CLASSES
    if plain and (model_dir / "tokenizer.json").is_file():
        # Ten times quicker to import than AutoTokenizer, which would choose the same class.
        from transformers import PreTrainedTokenizerFast as Tokenizer
    else:
        from transformers import AutoTokenizer as Tokenizer
    found = Tokenizer.from_pretrained(
        str(model_dir), local_files_only=True, trust_remote_code=False
    )
    _keep_few_words(found)
    return found


def _keep_few_words(tokenizer: Any) -> None:
    """Without a pre-tokenizer a whole prompt is one "word", and the last 10,000 would be kept."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.pre_tokenizer is None:
        resize = getattr(backend.model, "_resize_cache", None)
        if resize is not None:
            resize(_WORDS_KEPT)
