"""D2FT on a pod of several processes: the rounds of one process, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from d2ft_peers import SEED, Peer, settings_of, ticking, train
from grouped_toys import GroupedToy, PieceBatches
from thread_pod import following
from toys import ToyNetwork

from haversack_trainer.method import Unsuited
from haversack_trainer.methods.d2ft.method import d2ft, served
from haversack_trainer.methods.d2ft.settings import Settings

SLOTS: dict[str, Any] = {"solver": "Slots", "slots": {"full": 2, "forward_only": 1}}
"""Tables that are the same for scores that are but for their last bits: no sums of equal values are compared."""


class FirstPeer(Peer):
    """The first process of a pod."""

    def __init__(self, settings: Settings, world: Any, model: GroupedToy) -> None:
        self.model = model
        self.method = d2ft(settings, 0, SEED, model, PieceBatches(0), world=world, clock=ticking())


@contextmanager
def pod(size: int, model: GroupedToy | None = None, **settings: Any) -> Iterator[FirstPeer]:
    chosen = settings_of(sharding="Groups", **settings)
    models = [copy.deepcopy(model or GroupedToy()) for _ in range(size)]
    with following(size, lambda world: served(chosen, models[world.rank], world)) as world:
        yield FirstPeer(chosen, world, models[0])


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        (2, SLOTS),
        (3, {"forward_score": "Fisher", "refresh_steps": 2, **SLOTS}),
        (4, {"backward_score": "Gate", "rescale": "TrainInverse", "reweight": True, **SLOTS}),
        (3, {"devices": [3, 2, 1]}),
    ],
    ids=str,
)
def test_rounds_are_those_of_one_process(size: int, settings: dict[str, Any]) -> None:
    alone, networks = Peer(0, **settings), (ToyNetwork(), ToyNetwork())
    with pod(size, **settings) as several:
        for number in range(3):
            found = networks[0].run({0: several.method}, number)[0]
            wanted = networks[1].run({0: alone.method}, number)[0]
            assert found.loss == pytest.approx(wanted.loss, rel=1e-4)
            assert found.metrics.pop("pod_bytes") > 0
            assert found.metrics == wanted.metrics
        torch.testing.assert_close(several.vector(), alone.vector(), rtol=1e-3, atol=1e-5)


def test_a_pod_mixes_as_one_client_and_resumes_in_the_same_state() -> None:
    network, other = ToyNetwork(), Peer(1)
    with pod(2) as first:
        train(network, {0: first, 1: other}, range(2))
        kept = copy.deepcopy((first.model.trainable_state(), first.method.state_dict()))
        found = first.method.local_step(2)
        after = first.vector()
    with pod(3) as second:
        second.model.load_trainable_state(kept[0])
        second.method.load_state_dict(kept[1])
        again = second.method.local_step(2)
        torch.testing.assert_close(second.vector(), after, rtol=1e-3, atol=1e-5)
    assert again.loss == pytest.approx(found.loss, rel=1e-4)
    assert len(network.blobs) == 4, "one payload of each peer and round"


@pytest.mark.parametrize(
    ("size", "settings", "says"),
    [
        (5, {}, r"method.d2FT.groups: the pod's 5 processes have 4 groups"),
        (2, {"devices": [1, 1, 1]}, r"method.d2FT.devices: names 3, and a peer has 2 processes"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(
    size: int, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(Unsuited, match=says), pod(size, **settings):
        pass


def test_layers_that_are_run_twice_are_refused() -> None:
    model = GroupedToy()
    model.network.gradient_checkpointing = True  # type: ignore[assignment]  # as transformers has it
    with pytest.raises(Unsuited, match="sharding: with gradient checkpointing"), pod(2, model):
        pass
