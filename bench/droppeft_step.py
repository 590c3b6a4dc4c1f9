"""A training step of DropPEFT at some drop rates: its time, and the bytes that it keeps for the backward pass.

The model is an encoder of twelve (on CUDA 24) layers with random weights, LoRA on query and value. Steps of the
rates are interleaved and go through the method as the loop calls it; on a CPU its seconds count, of one thread, since
others may use the machine. Saved bytes are those of the tensors that
autograd packs, each storage once, weights left out. The layers' part of them is what is left without the part
that does not depend on the number of layers that run, found from runs with one layer and with all.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
from bench.figures import spread, write
from torch import Tensor

from haversack_trainer.blocks import LayerExecutor, Op, find_layers
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.data import Batches, Samples
from haversack_trainer.methods.droppeft.masks import draw
from haversack_trainer.methods.droppeft.method import DropPeft
from haversack_trainer.methods.droppeft.rates import shape_weights, water_fill
from haversack_trainer.methods.droppeft.settings import Settings
from haversack_trainer.model import FineTuned, load_model

RATES: Final = ("0", "0.25", "0.5")
WARM_UP: Final = 2
MASKS: Final = 20
CLASSES: Final = ("even", "odd")


@dataclass(frozen=True, slots=True)
class Size:
    hidden: int
    layers: int
    heads: int
    length: int
    batch: int


SIZES: Final = {"cpu": Size(384, 12, 12, 128, 8), "cuda": Size(1024, 24, 16, 256, 32)}


def folder_of(size: Size, folder: Path) -> Path:
    """An encoder with random weights, in Hugging Face layout."""
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from tiny_models import save_tokenizer
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=save_tokenizer(folder),
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.hidden,
        max_position_embeddings=512,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def job_of(size: Size, folder: Path) -> JobFile:
    return JobFile.model_validate(
        {
            "run": "bench.droppeft.00000000",
            "job": "droppeft",
            "model": {"uri": f"file://{folder}", "task": "SequenceClassification"},
            "dataset": {"uri": "file:///none", "maxLength": size.length},
            "method": {"type": "DropPEFT"},
            "training": {"batchSize": size.batch},
            "storage": {"uri": "file:///none"},
            "numPeers": 1,
            "minPeers": 1,
        }
    )


def batches_of(size: Size, model: FineTuned) -> Batches:
    text = "the quick brown fox parses arguments and writes json to a path " * size.length
    count = 4 * size.batch
    samples = Samples((text,) * count, CLASSES, np.arange(count) % 2)
    return Batches(
        model.encode,
        samples,
        np.arange(count),
        batch_size=size.batch,
        micro_batch_size=size.batch,
        seed=17,
        peer=0,
    )


def times(size: Size, folder: Path, steps: int) -> dict[str, list[float]]:
    """Milliseconds of each step after the warm-up, by rate; one step of each rate at a time."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    methods = {}
    for rate in RATES:
        model: Any = load_model(job_of(size, folder), folder, CLASSES)
        settings = Settings(drop_rate=rate, local_steps=1)
        methods[rate] = DropPeft(settings, 0, 17, model, batches_of(size, model))
    found: dict[str, list[float]] = {rate: [] for rate in RATES}
    for number in range(WARM_UP + steps):
        for rate, method in methods.items():
            begin = clock()
            method.local_step(number)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= WARM_UP:
                found[rate].append(1000 * (clock() - begin))
    return found


def saved_bytes(
    model: Any, batch: Any, executor: LayerExecutor, dropped: np.ndarray[Any, Any]
) -> int:
    """What autograd keeps in one forward pass with these layers dropped, but for weights."""
    held = {parameter.untyped_storage().data_ptr() for parameter in model.network.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    ops = [Op.SKIP if drop else Op.FULL for drop in dropped]
    with executor.under(ops), torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        model.loss(batch).backward()
    return sum(each for pointer, each in sizes.items() if pointer not in held)


def activations(size: Size, folder: Path) -> dict[str, Any]:
    """Saved MiB by rate, whole and as a share of the layers' part at rate 0."""
    model: Any = load_model(job_of(size, folder), folder, CLASSES)
    model.train(True)
    executor = LayerExecutor(find_layers(model.network))
    (batch,) = batches_of(size, model).micro_batches(0)
    count = size.layers
    everything = saved_bytes(model, batch, executor, np.zeros(count, np.bool_))
    one = saved_bytes(model, batch, executor, np.arange(count) > 0)
    fixed = one - (everything - one) / (count - 1)
    figures: dict[str, Any] = {"fixed_mib": round(fixed / 2**20, 2)}
    protected = (0, count - 1)
    settings = Settings()
    for rate in RATES:
        weights = shape_weights(settings.shape, count)
        rates = water_fill(weights, protected, float(rate), float(settings.max_drop_rate))
        masks = [draw(rates, range(count), settings.sampler, (17, n)) for n in range(MASKS)]
        sizes = [saved_bytes(model, batch, executor, mask) for mask in masks]
        figures[rate] = {
            "mean_mib": round(fmean(sizes) / 2**20, 2),
            "max_mib": round(max(sizes) / 2**20, 2),
            "of_the_layers_part": round((fmean(sizes) - fixed) / (everything - fixed), 3),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=sorted(SIZES), default="cpu")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: there is no CUDA device here")
    size = SIZES[arguments.device]
    torch.set_num_threads(1)
    with TemporaryDirectory() as name:
        folder = folder_of(size, Path(name))
        measured = times(size, folder, arguments.steps)
        figures: dict[str, Any] = {
            "layers": size.layers,
            "hidden": size.hidden,
            "tokens": size.length * size.batch,
            "step_ms": {rate: spread(values) for rate, values in measured.items()},
            "of_the_time": {
                rate: spread([v / w for v, w in zip(values, measured["0"], strict=True)], 3)
                for rate, values in measured.items()
            },
            "saved": activations(size, folder),
        }
    if arguments.device == "cuda":
        figures["accelerator"] = torch.cuda.get_device_name()
    write("droppeft_step", figures, "_cuda" if arguments.device == "cuda" else "")


if __name__ == "__main__":
    main()
