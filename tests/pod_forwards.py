"""SPSA in a pod under test: see ``pod_checks``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pod_models import a_model, gap, samples, share, uses
from toys import ToyNetwork

from haversack_trainer.data import Batch
from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.settings import Settings
from haversack_trainer.sharding import World
from haversack_trainer.sharding.opening import open_forwards

SEED = 17
STEPS = 3
FORWARDS: tuple[dict[str, Any], ...] = ({}, {"shared_batch": True, "points_per_pass": 3})


def forwards(folder: Path, world: World) -> None:
    """SPSA on weights that are shared out: the words and the bits of one process that has all of them."""
    for name, given in zip(("llama", "bert"), FORWARDS, strict=True):
        settings = Settings(learning_rate="0.01", momentum="0.5", directions=4, **given)
        model, whole = (a_model(folder / name, kind) for kind in ("ZeRO3", "None"))
        shards = open_forwards(model, world)
        model.load_trainable_state(model.first_state)
        frozen = [p for p in model.module.parameters() if not p.requires_grad]
        assert sum(p.ds_tensor.numel() for p in frozen) <= sum(
            p.ds_numel // world.size + 1 for p in frozen
        )
        pod = Spsa(settings, 0, SEED, model, SharedOut(model, world), shards=shards)
        one = Spsa(settings, 0, SEED, whole, SharedOut(whole))
        network = ToyNetwork()
        for number in range(STEPS):
            steps = pod.local_step(number), one.local_step(number)
            assert world.sums(steps[0].num_samples) == [steps[1].num_samples]
            assert math.isclose(steps[0].loss, steps[1].loss, rel_tol=1e-6)
            sent, wanted = pod.outgoing(), one.outgoing()
            assert world.gather((sent.aux, sent.body)) == [(wanted.aux, wanted.body)] * world.size
            closed = network.close(number, {0: sent})
            for method in (pod, one):
                assert method.incoming(network.swap(closed, 0))["directions"] == 4
        assert gap(model.trainable_state(), model.first_state) > 0
        assert gap(model.trainable_state(), whole.trainable_state()) == 0
        uses(folder, world, model, whole, "FP32")
        assert model.base_digest() == whole.base_digest()


@dataclass
class SharedOut:
    """A peer's batches, shared out as ``data.Batches`` does."""

    model: Any
    world: World | None = None
    num_records: int = 100

    def micro_batches(self, step: int) -> list[Batch]:
        batch = samples(self.model, 0, step)
        return batch if self.world is None else share(batch, self.world)
