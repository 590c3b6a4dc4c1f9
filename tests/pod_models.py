"""The models of a pod under test, their samples, and what all that are in parts must do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models
import torch

from haversack_trainer.data import Batch
from haversack_trainer.model import load_model
from haversack_trainer.sharding import World
from haversack_trainer.sharding.opening import Loading, Sharding

LOSSES = {"FP32": 1e-5, "BF16": 0.05}
"""And how far its loss may be from one process's."""
BATCH = 5
"""Samples of a pod's step: the two processes get three and two of them."""


def a_model(folder: Path, kind: str = "None", precision: str = "FP32") -> Any:
    model: Any
    job = tiny_models.job(folder, "SequenceClassification" if "bert" in folder.name else "CausalLM")
    labels = tiny_models.texts().classes if "bert" in folder.name else ()
    if kind == "None":
        model = load_model(job, folder, labels)
    else:
        loading = Loading(Sharding(kind, precision))
        model = load_model(job, folder, labels, loading.whole)
    generator = torch.Generator().manual_seed(5)
    state = {
        name: torch.randn(values.shape, generator=generator) * 0.05
        for name, values in model.trainable_state().items()
    }
    if kind == "ZeRO3":
        model.first_state = state
    else:
        model.load_trainable_state(state)
    model.train(mode=False)
    return model


def samples(model: Any, pod: int, step: int) -> list[Batch]:
    """A pod's step, a sample at a time."""
    texts = tiny_models.texts()
    first = 40 * pod + BATCH * step
    return [model.encode(texts, np.array([first + i])) for i in range(BATCH)]


def share(batch: Sequence[Batch], world: World) -> list[Batch]:
    """A process's micro-batches, filled up with one that weighs nothing."""
    own = list(batch[world.rank :: world.size])
    most = -(-len(batch) // world.size)
    return own + [Batch(batch[0].tensors, 0)] * (most - len(own))


def gap(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    assert list(left) == list(right)
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def uses(folder: Path, world: World, model: Any, whole: Any, precision: str) -> None:
    """What evaluation, checkpoints and gate ask of a model in parts: what one process would find."""
    batch = samples(model, 0, 9)[0]
    state = model.trainable_state()
    generator = torch.Generator().manual_seed(3)
    moved = {n: v + 0.5 * torch.randn(v.shape, generator=generator) for n, v in state.items()}
    found = []
    with torch.no_grad():
        for values in (state, moved, state):
            model.load_trainable_state(values)
            whole.load_trainable_state(values)
            assert gap(model.trainable_state(), values) == 0
            loss, wanted = model.losses(batch)[0], whole.losses(batch)[0]
            assert math.isclose(float(loss), float(wanted), rel_tol=LOSSES[precision]), (
                loss,
                wanted,
            )
            found.append(loss)
            if values is moved:
                written = folder / f"adapter-{world.rank}"
                model.save_adapter(written)
        assert torch.equal(found[0], found[2])
        assert not torch.equal(found[0], found[1])
        with model.with_adapter(written):
            assert torch.equal(model.losses(batch)[0], found[1])
        assert torch.equal(model.losses(batch)[0], found[0])
        with model.without_adapter():
            assert not torch.equal(model.losses(batch)[0], found[0])
        assert model.features(batch).shape[-1] == tiny_models.WIDTH
        assert all(0 < ratio < 10 for ratio in model.update_ratios().values())
