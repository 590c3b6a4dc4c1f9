"""What runs in each process of a pod under test: ``python pod_checks.py FOLDER CHECK…``, with torchrun's variables."""

from __future__ import annotations

import copy
import itertools
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_models
import torch
from pod_forwards import forwards
from pod_models import BATCH, a_model, gap, samples, share, uses

from haversack_trainer.data import Batch
from haversack_trainer.methods.flexdemo.options import Options
from haversack_trainer.methods.flexdemo.settings import Scheme
from haversack_trainer.methods.flexdemo.several import SeveralProcesses, framed
from haversack_trainer.sharding import Shards, World
from haversack_trainer.sharding.opening import KINDS, Sharding, open_shards

PRECISIONS = {"FP32": 1e-6, "BF16": 2e-3}
"""And how far from one process in FP32 a few steps may lead."""
RATE = 0.05
RANK = 8
STEPS = 3


def an_engine(model: Any, world: World, kind: str, precision: str = "FP32") -> Shards:
    engine = open_shards(model, world, Sharding(kind, precision))
    if kind == "ZeRO3":
        engine.load(model.first_state)
    return engine


def reference(folder: Path) -> dict[str, torch.Tensor]:
    """What one process makes of both pods' data."""
    model = a_model(folder)
    for step in range(STEPS):
        batch = [micro for pod in range(2) for micro in samples(model, pod, step)]
        for micro in batch:
            (model.loss(micro) / len(batch)).backward()
        with torch.no_grad():
            for _, parameter in model.trainables():
                assert parameter.grad is not None
                parameter.sub_(RATE * parameter.grad)
                parameter.grad = None
    trained: dict[str, torch.Tensor] = model.trainable_state()
    return trained


def trained(
    folder: Path, world: World, kind: str, precision: str = "FP32"
) -> tuple[list[Any], list[Shards]]:
    """Two pods' replicas in the same processes, trained on different data."""
    models = [a_model(folder, kind, precision) for _ in range(2)]
    engines = [an_engine(model, world, kind, precision) for model in models]
    for step in range(STEPS):
        for pod in range(2):
            found = engines[pod].gradient(
                models[pod], share(samples(models[pod], pod, step), world), math.inf
            )
            assert found.is_finite
            assert found.num_samples == BATCH
        gradients: Any = [[part.grad for part in engine.partitions()] for engine in engines]
        for engine in engines:
            for number, part in enumerate(engine.partitions()):
                with torch.no_grad():
                    part.sub_(RATE * (gradients[0][number] + gradients[1][number]) / 2)
            engine.updated()
    return models, engines


def engines(folder: Path, world: World) -> None:
    """Every way to shard gives what one process without sharding gives; replicas are equal bit by bit."""
    wholes = {name: a_model(folder / name) for name in ("llama", "bert")}
    wanted = {name: reference(folder / name) for name in wholes}
    cases = [("llama", precision) for precision in PRECISIONS] + [("bert", "FP32")]
    for kind, (name, precision) in itertools.product(KINDS, cases):
        try:
            models, (one, two) = trained(folder / name, world, kind, precision)
            assert gap(one.state(), two.state()) == 0
            assert models[0].trainables_digest() == models[1].trainables_digest()
            off = gap(one.state(), wanted[name])
            assert off < PRECISIONS[precision], off
            uses(folder, world, models[0], wholes[name], precision)
            faults(models[1], two, world)
            exchange(models, [one, two], world)
        except Exception as error:
            error.add_note(f"{kind} {name} {precision}")
            raise


@dataclass
class Faulty:
    """A model whose loss is not finite on one process."""

    model: Any
    world: World

    def loss(self, batch: Batch) -> torch.Tensor:
        loss: torch.Tensor = self.model.loss(batch)
        return loss * (math.nan if self.world.rank == self.world.size - 1 else 1)


def faults(model: Any, shards: Shards, world: World) -> None:
    """A gradient that is not finite on one process counts on none and leaves nothing behind; one that is not there
    is zero, and clipping is by the norm over all processes."""
    batch = share(samples(model, 1, 7), world)

    def gradients(max_norm: float = math.inf) -> list[torch.Tensor]:
        assert shards.gradient(model, batch, max_norm).is_finite
        return [part.grad.clone() for part in shards.partitions() if part.grad is not None]

    before = gradients()
    assert not shards.gradient(Faulty(model, world), batch, math.inf).is_finite
    after = gradients()
    assert all(map(torch.equal, before, after))
    (whole,) = world.sums(sum(float(part.double().square().sum()) for part in before))
    (clipped,) = world.sums(
        sum(float(part.double().square().sum()) for part in gradients(math.sqrt(whole) / 2))
    )
    assert math.isclose(clipped, whole / 4, rel_tol=1e-3)
    layer = next(part for part in model.module.modules() if hasattr(part, "lora_A"))
    layer._disable_adapters = True
    fewer = gradients()
    layer._disable_adapters = False
    zeros = [world.sums(sum(int((p == 0).sum()) for p in parts))[0] for parts in (before, fewer)]
    # Its two factors, of rank times width; in BF16 a few gradients are zero anyway.
    assert zeros[0] < 2 * RANK * tiny_models.WIDTH <= zeros[1]


def exchange(models: list[Any], shards: list[Shards], world: World) -> None:
    """FlexDeMo on both pods: equal bit by bit on different data, and exact after a save."""
    options = Options(scheme=Scheme.DEMO, learning_rate=0.01)
    pods = [SeveralProcesses(models[pod], shards[pod], options, 0.0) for pod in range(2)]

    def one_round(step: int) -> None:
        for pod in range(2):
            torch.manual_seed(step)  # of dropout, as the method does
            pods[pod].gradient(share(samples(models[pod], pod, step), world))
        payloads = [pod.compress() for pod in pods]
        assert all(len(payload) == pods[0].payload_bytes() for payload in payloads)
        assert [pod.apply(payloads) for pod in pods] == [2, 2]
        assert pods[0].checksum() == pods[1].checksum()

    one_round(4)
    kept = (
        models[0].trainable_state(),
        copy.deepcopy([pod.state_dict(with_gradient=False) for pod in pods]),
    )
    one_round(5)
    wanted = models[0].trainable_state()
    for model, pod, state in zip(models, pods, kept[1], strict=True):
        model.load_trainable_state(kept[0])
        pod.load_state_dict(state)
    one_round(5)
    assert gap(models[0].trainable_state(), wanted) == 0
    models[1].load_trainable_state(kept[0])
    pods[1].load_shared_state(pods[0].shared_state())
    assert pods[0].checksum() == pods[1].checksum()
    assert pods[1].apply([framed([b"x"] * (world.size + 1))]) == 0


def loading(folder: Path, world: World) -> None:
    """Of a model that is loaded under ZeRO-3 each process holds its share only, and it is the same model."""
    model = a_model(folder / "llama", "ZeRO3")
    frozen = [p for p in model.module.parameters() if not p.requires_grad]
    held = sum(p.ds_tensor.numel() for p in frozen)
    whole = sum(p.ds_numel for p in frozen)
    assert sum(p.numel() for p in frozen) == 0
    assert whole / world.size <= held <= whole / world.size + len(frozen)
    assert {p.ds_process_group.size() for p in frozen} == {world.size}
    assert model.base_digest() == a_model(folder / "llama").base_digest()


def main() -> None:
    folder, *checks = Path(sys.argv[1]), *sys.argv[2:]
    world = World.join(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), folder / "meeting")
    for check in checks:
        CHECKS[check](folder, world)
    world.leave()


CHECKS: dict[str, Callable[[Path, World], Any]] = {
    "engines": engines,
    "forwards": forwards,
    "loading": loading,
}

if __name__ == "__main__":
    main()
