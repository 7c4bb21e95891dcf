"""Demonstrations as a frozen SFT dataset: what a starter checkpoint is fine-tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factory.errors import RecipeError, UserError
from factory.recipe import Recipe
from factory.rows import content_id, split_of


def write_demonstrations(recipe: Recipe, *, model_dir: Path, out: Path) -> Path:
    """Write a directory that SFT trains on: `tokens.parquet` and its manifest.

    Only prompts of the train split are demonstrated (law 12). The answers end as the model's chat
    template ends an assistant's turn.

    Raises:
        RecipeError: when the recipe names a generator that demonstrates nothing.
        UserError: when there are fewer demonstrations than asked for.
    """
    spec = recipe.policy.starter
    if spec is None or spec.demonstrations != "toyworld":
        raise RecipeError(
            f"policy.starter.demonstrations: {spec and spec.demonstrations!r} demonstrates "
            "nothing; there is: toyworld",
            next="edit the recipe",
        )
    rows = _toyworld(recipe, rows=spec.rows)
    return _write(rows, model_dir=model_dir, out=out)


def _toyworld(recipe: Recipe, *, rows: int) -> list[tuple[list[dict[str, str]], str]]:
    from factory.prompting import toyworld

    shares = recipe.prompts.split
    tasks = [
        task
        for task in toyworld.make_tasks(len(toyworld.all_tasks()), seed=recipe.seed)
        if split_of(task.prompt.prompt_id, gate=shares.gate, dev=shares.dev) == "train"
    ]
    if len(tasks) < rows:
        raise UserError(
            f"policy.starter.rows: the toy world has {len(tasks)} train prompts, {rows} asked for",
            next=f"--set policy.starter.rows={len(tasks)}",
        )
    made = toyworld.demonstrate(tasks[:rows], per_task=1, seed=recipe.seed)
    return [([dict(m) for m in d.task.prompt.messages], d.text) for d in made]


def _write(rows: Sequence[tuple[list[dict[str, str]], str]], *, model_dir: Path, out: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from factory.sampling.identity import identify
    from factory.sampling.render import Renderer
    from factory.training.files import sha256_of, write_json

    renderer = Renderer(model_dir)
    table: dict[str, list[Any]] = {"sft_id": [], "prompt_ids": [], "completion_ids": []}
    for number, (messages, text) in enumerate(rows):
        prompt = renderer.render(messages)
        completion = _turn(renderer, messages, prompt, text)
        table["sft_id"].append(content_id("demonstration", [number, prompt, completion]))
        table["prompt_ids"].append(prompt)
        table["completion_ids"].append(completion)
    out.mkdir(parents=True, exist_ok=True)
    tokens = out / "tokens.parquet"
    ids = pa.list_(pa.int32())
    pq.write_table(
        pa.table(
            {
                "sft_id": pa.array(table["sft_id"], pa.string()),
                "prompt_ids": pa.array(table["prompt_ids"], ids),
                "completion_ids": pa.array(table["completion_ids"], ids),
                "weight": pa.array([1.0] * len(rows), pa.float64()),
            }
        ),
        tokens,
    )
    content = content_id("demonstrations", table["sft_id"])
    model = identify(model_dir)
    write_json(
        out / "manifest.json",
        {
            "version_id": content,
            "kind": "sft",
            "n_rows": len(rows),
            "content_hash": content,
            "files": {"tokens.parquet": sha256_of(tokens)},
            "tokenizer_digest": model.tokenizer_digest,
            "template_digest": model.template_digest,
        },
    )
    return out


def _turn(
    renderer: Any, messages: list[dict[str, str]], prompt: Sequence[int], text: str
) -> list[int]:
    """The assistant's turn as the template writes it, up to and with its stop token."""
    tokenizer = renderer.tokenizer
    whole = tokenizer.apply_chat_template(
        [*messages, {"role": "assistant", "content": text}],
        chat_template=renderer.template,
        tokenize=True,
        return_dict=False,
    )
    if list(whole[: len(prompt)]) != list(prompt):
        raise UserError(
            "the chat template renders a prompt differently when an answer follows",
            next="choose a template whose turns do not depend on later turns",
        )
    turn = [int(i) for i in whole[len(prompt) :]]
    ends = [at for at, token in enumerate(turn) if token == tokenizer.eos_token_id]
    if not ends:
        raise UserError(
            f"the chat template ends no assistant turn with {tokenizer.eos_token!r}",
            next="set eos_token to the token that ends a turn",
        )
    # What a template writes after the stop token (often a newline) is never sampled.
    return turn[: ends[-1] + 1]
