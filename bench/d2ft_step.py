"""A training step of D2FT in slices, at some shares of full, forward-only and skipped micro-batches: its time, and
the bytes that it keeps for the backward pass.

A vision transformer with random weights, 197 tokens and six heads; on a CPU of six layers with micro-batches of
eight images, on CUDA of twelve with sixteen, which is the paper's shape. Five
micro-batches a step, and in turn LoRA on query and value or all weights trained. Group k of all is full in the micro-batches
from k on. Steps of the shares are interleaved; on a CPU its seconds count, of one thread, since others may use
the machine. Saved bytes are those of the tensors that autograd packs, each storage once, weights left out.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import torch
from bench.figures import spread, write
from torch import Tensor, nn

from haversack_trainer.blocks import GroupExecutor, Mode, Op, OpTable, find_groups

Slots = tuple[int, int, int]
SLOTS: Final[tuple[Slots, ...]] = ((5, 0, 0), (3, 0, 2), (3, 1, 1), (2, 1, 2))
"""Micro-batches in full, forward only, skipped; the first is everything, by the untouched model."""
NUM_MICRO: Final = 5
WARM_UP: Final = 1
RHO: Final = {"lora": 1 / 2, "all weights": 1 / 3}
"""What forward only costs of full, as modelled."""


@dataclass(frozen=True, slots=True)
class Size:
    hidden: int
    layers: int
    heads: int
    micro_batch: int


SIZES: Final = {"cpu": Size(384, 6, 6, 8), "cuda": Size(384, 12, 6, 16)}


def network_of(size: Size, training: str) -> nn.Module:
    from peft import LoraConfig, get_peft_model
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(17)
    config = ViTConfig(
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.hidden,
        num_labels=10,
    )
    model: nn.Module = ViTForImageClassification(config)
    if training == "lora":
        with warnings.catch_warnings():
            # peft 0.21 still asks for a property that transformers 5.23 has renamed.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            model = get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj", "v_proj"]))
    return model.to("cuda" if torch.cuda.is_available() else "cpu").train()


def rotating(slots: Slots, num_layers: int, num_groups: int) -> OpTable:
    """Group k of all has its full micro-batches first, then the others, from micro-batch k on."""
    kinds = [
        op for op, n in zip((Op.FULL, Op.FORWARD, Op.SKIP), slots, strict=True) for _ in range(n)
    ]
    return OpTable(
        tuple(
            tuple(
                tuple(
                    kinds[(micro - layer * num_groups - group) % NUM_MICRO]
                    for micro in range(NUM_MICRO)
                )
                for group in range(num_groups)
            )
            for layer in range(num_layers)
        )
    )


class Trained:
    """One model, stepped under one table or another."""

    def __init__(self, size: Size, training: str) -> None:
        self._model: Any = network_of(size, training)
        groups = find_groups(self._model)
        self._executor = GroupExecutor(groups, Mode.SLICED)
        self._tables = {s: rotating(s, len(groups), groups.num_groups) for s in SLOTS}
        parameters = [p for p in self._model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(parameters, 1e-4)
        device = parameters[0].device
        self._images = torch.randn(NUM_MICRO, size.micro_batch, 3, 224, 224, device=device)
        self._labels = torch.arange(size.micro_batch, device=device) % 10

    def step(self, slots: Slots) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        for micro in range(NUM_MICRO):
            self._micro_batch(slots, micro)
        self._optimizer.step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def _micro_batch(self, slots: Slots, micro: int) -> None:
        with self._executor.under(self._tables[slots].groups(micro)):
            output = self._model(pixel_values=self._images[micro], labels=self._labels)
            (output.loss / NUM_MICRO).backward()

    def saved_bytes(self, slots: Slots) -> float:
        """What autograd keeps for a micro-batch, but for weights; the mean over a step's."""
        held = {p.untyped_storage().data_ptr() for p in self._model.parameters()}
        found = []
        for micro in range(NUM_MICRO):
            sizes: dict[int, int] = {}

            def pack(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
                storage = tensor.untyped_storage()
                sizes[storage.data_ptr()] = storage.nbytes()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
                self._micro_batch(slots, micro)
            found.append(sum(n for pointer, n in sizes.items() if pointer not in held))
        return fmean(found)


def times(trained: Trained, steps: int) -> dict[Slots, list[float]]:
    """Milliseconds of each step after the warm-up; one step of each share at a time."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    found: dict[Slots, list[float]] = {slots: [] for slots in SLOTS}
    for number in range(WARM_UP + steps):
        for slots in SLOTS:
            begin = clock()
            trained.step(slots)
            if number >= WARM_UP:
                found[slots].append(1000 * (clock() - begin))
    return found


def measured(size: Size, training: str, steps: int) -> dict[str, Any]:
    trained = Trained(size, training)
    found = times(trained, steps)
    whole = found[SLOTS[0]]
    saved = {slots: trained.saved_bytes(slots) for slots in SLOTS}
    figures = {}
    for slots, values in found.items():
        ratios = [value / full for value, full in zip(values, whole, strict=True)]
        figures["{}, {}, {}".format(*slots)] = {
            "step_ms": spread(values),
            "of_the_time": spread(ratios, 3),
            "modelled": round((slots[0] + RHO[training] * slots[1]) / NUM_MICRO, 3),
            "saved_mib": round(saved[slots] / 2**20, 2),
            "of_the_bytes": round(saved[slots] / saved[SLOTS[0]], 3),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=sorted(SIZES), default="cpu")
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: there is no CUDA device here")
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    size = SIZES[arguments.device]
    figures: dict[str, Any] = {
        "layers": size.layers,
        "heads": size.heads,
        "hidden": size.hidden,
        "micro_batches": f"{NUM_MICRO} of {size.micro_batch}",
    }
    figures |= {training: measured(size, training, arguments.steps) for training in RHO}
    if arguments.device == "cuda":
        figures["accelerator"] = torch.cuda.get_device_name()
    write("d2ft_step", figures, "_cuda" if arguments.device == "cuda" else "")


if __name__ == "__main__":
    main()
