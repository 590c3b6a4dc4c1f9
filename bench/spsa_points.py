"""Forward passes for SPSA: several points in one pass against one after the other, in time per point.

A batch of so many samples of 64 tokens each is measured at 8 points, in passes of 1, 2, 4 and 8. Models are those
of ``step_memory``; LoRA of rank 8 on query and value. Before timing, the losses are compared: they have to agree.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
from bench.figures import device_name, spread, write
from bench.step_memory import Case, folder_of, job_of

from haversack_trainer.data import Batch, Samples
from haversack_trainer.model import FineTuned, load_model

NUM_POINTS: Final = 8
PASSES: Final = (1, 2, 4, 8)
BATCHES: Final = (1, 4, 16)
LENGTH: Final = 64
REPEATS: Final = 5
TOLERANCE: Final = 1e-4


def model_of(name: str, folder: Path) -> FineTuned:
    case = Case(name, "SPSA", LENGTH, 1)
    labels = ("a", "b") if name == "minilm-23m" else ()
    model = load_model(job_of(case, folder), folder, labels)
    model.train(mode=False)
    return model


def batch_of(model: FineTuned, name: str, size: int) -> Batch:
    texts = tuple(
        " ".join(f"word{(row * 7 + n) % 50}" for n in range(LENGTH)) for row in range(size)
    )
    labelled = name == "minilm-23m"
    samples = Samples(
        texts,
        ("a", "b") if labelled else (),
        np.arange(size) % 2 if labelled else None,
    )
    return model.encode(samples, np.arange(size))


@torch.no_grad()
def measure(model: FineTuned, batch: Batch) -> dict[str, Any]:
    here = torch.cat([p.detach().reshape(-1) for _, p in model.trainables()])
    noise = torch.randn(NUM_POINTS, len(here), generator=torch.Generator().manual_seed(1))
    points = here + noise.to(here) * 2.0**-7
    taken: dict[int, list[float]] = {size: [] for size in PASSES}
    alone: torch.Tensor | None = None
    for turn in range(REPEATS + 1):
        for size in PASSES:
            begin = time.perf_counter()
            groups = [points[at : at + size] for at in range(0, NUM_POINTS, size)]
            losses = torch.cat([model.losses_at(group, batch) for group in groups]).cpu()
            if turn:
                taken[size].append((time.perf_counter() - begin) * 1000 / NUM_POINTS)
            alone = losses if alone is None else alone
            if not torch.allclose(losses, alone, rtol=TOLERANCE):
                raise SystemExit(f"passes of {size} points give other losses")
    return {f"ms_per_point_passes_of_{size}": spread(values) for size, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["minilm-23m", "llama-60m"])
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as parent:
        for name in chosen.models:
            model = model_of(name, folder_of(name, Path(parent)))
            for size in chosen.batches:
                figures = measure(model, batch_of(model, name, size))
                rows.append({"model": name, "batch": size, **figures})
    device = device_name()
    figures = {"device": device, "threads": chosen.threads, "points": rows}
    write("spsa_points", figures, "" if device == "cpu" else "_cuda")


if __name__ == "__main__":
    main()
