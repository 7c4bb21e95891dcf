"""From planned steps to padded batches, with the numbers that make a step's loss exact.

Each item carries its step's totals (rows, chosen tokens). A micro-batch divides by those, so the
sum over micro-batches and devices is the step's mean however the step is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from factory.training.data import Floats, Ints, Rows
from factory.training.logprobs import pad_rows


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in the run: the rows that share it and its step's totals."""

    rows: tuple[int, ...]
    step_slots: int
    step_tokens: int


class Stream(Dataset[Slot]):
    """Every slot of the whole run in order; resuming is skipping to a position."""

    def __init__(self, *, steps: Ints, units: Sequence[Sequence[int]], tokens: Ints) -> None:
        """`steps` is (S, B) unit indices, `tokens` the trained tokens of each row, (N,)."""
        self._steps, self._units = steps, units
        per_unit = np.array([int(tokens[list(unit)].sum()) for unit in units])
        self._step_tokens = per_unit[steps].sum(axis=1)

    def __len__(self) -> int:
        return self._steps.size

    def __getitem__(self, position: int) -> Slot:
        step, place = divmod(position, self._steps.shape[1])
        unit = self._units[self._steps[step, place]]
        return Slot(tuple(unit), self._steps.shape[1], int(self._step_tokens[step]))


@dataclass(frozen=True, slots=True)
class PairCollator:
    """Slots to one batch: chosen rows first, then rejected rows, (2B, T)."""

    rows: Rows
    reference: Floats
    """Summed reference log-probabilities, (N, 2): chosen, rejected."""
    offsets: Floats
    """Target margin of each row in reward units, (N,)."""

    def __call__(self, slots: Sequence[Slot]) -> dict[str, Tensor]:
        """One micro-batch."""
        index = [slot.rows[0] for slot in slots]
        prompts = [self.rows.prompt[i].tolist() for i in index]
        texts = [
            prompt + side[i].tolist()
            for side in self.rows.sides
            for prompt, i in zip(prompts, index, strict=True)
        ]
        batch = pad_rows(texts, prompt_lengths=[len(p) for p in prompts] * 2)
        single = {
            "reference": self.reference[index].T.reshape(-1),
            "weight": self.rows.weight[index],
            "offset": self.offsets[index],
        }
        batch.update({k: torch.tensor(v, dtype=torch.float32) for k, v in single.items()})
        return {**batch, **totals(slots)}


@dataclass(frozen=True, slots=True)
class SftCollator:
    """Slots to one batch; rows of a pack follow each other with their own positions, (B, T)."""

    rows: Rows
    packed: bool

    def __call__(self, slots: Sequence[Slot]) -> dict[str, Tensor]:
        """One micro-batch."""
        if not self.packed:
            index = [slot.rows[0] for slot in slots]
            prompts = [self.rows.prompt[i].tolist() for i in index]
            texts = [
                p + self.rows.sides[0][i].tolist() for p, i in zip(prompts, index, strict=True)
            ]
            batch = pad_rows(texts, prompt_lengths=[len(p) for p in prompts])
            weight = torch.tensor(self.rows.weight[index], dtype=torch.float32)[:, None]
            batch["token_weight"] = batch["completion_mask"] * weight
            return {**batch, **totals(slots)}
        packs = [self._pack(slot.rows) for slot in slots]
        width = max(len(pack["input_ids"]) for pack in packs)
        batch = {name: _stack([pack[name] for pack in packs], width) for name in packs[0]}
        # No attention mask: attention finds the borders where positions start again at zero, and
        # padding is one more example after the last, so nothing sees anything else.
        for row, pack in enumerate(packs):
            free = width - len(pack["input_ids"])
            batch["position_ids"][row, width - free :] = torch.arange(free)
        batch["completion_mask"] = batch["completion_mask"].bool()
        return {**batch, **totals(slots)}

    def _pack(self, members: Sequence[int]) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {
            "input_ids": [], "position_ids": [], "completion_mask": [], "token_weight": [],
        }  # fmt: skip
        for i in members:
            prompt, completion = self.rows.prompt[i], self.rows.sides[0][i]
            inside = torch.arange(len(prompt) + len(completion)) >= len(prompt)
            both = np.concatenate([prompt, completion]).astype(np.int64)
            parts["input_ids"].append(torch.from_numpy(both))
            parts["position_ids"].append(torch.arange(len(both)))
            parts["completion_mask"].append(inside)
            parts["token_weight"].append(inside * float(self.rows.weight[i]))
        return {name: torch.cat(values) for name, values in parts.items()}


def _stack(rows: Sequence[Tensor], width: int) -> Tensor:
    return torch.stack([torch.nn.functional.pad(row, (0, width - len(row))) for row in rows])


def totals(slots: Sequence[Slot]) -> Mapping[str, Tensor]:
    """The step's own totals as scalars; every slot of a micro-batch belongs to one step."""
    return {
        "step_slots": torch.tensor(float(slots[0].step_slots)),
        "step_tokens": torch.tensor(float(slots[0].step_tokens)),
    }
