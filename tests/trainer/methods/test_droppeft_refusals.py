"""What DropPEFT refuses: payloads that are not sound, settings that a model cannot meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from droppeft_peers import SEED, Peer, digests
from layered_toys import LayeredToy
from torch import nn
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.exchange.base import Outgoing
from haversack_trainer.exchange.codec import HEADER_BYTES
from haversack_trainer.method import Unsuited
from haversack_trainer.methods.droppeft.method import DropPeft
from haversack_trainer.methods.droppeft.settings import Settings


def poison(out: Outgoing) -> Outgoing:
    assert out.blob is not None
    values = np.frombuffer(out.blob[HEADER_BYTES:], "<f4").copy()
    values[0] = np.nan
    return dataclasses.replace(out, blob=out.blob[:HEADER_BYTES] + values.tobytes())


@pytest.mark.parametrize(
    "spoil",
    [
        poison,
        lambda out: dataclasses.replace(out, body=b"?" * len(out.body)),
        lambda out: dataclasses.replace(out, body=out.body + b"?"),
        lambda out: dataclasses.replace(out, blob=out.blob[:-1]),
        lambda out: dataclasses.replace(out, blob=b""),
    ],
    ids=["NaN", "body", "long body", "torn blob", "empty blob"],
)
def test_an_unsound_payload_is_refused_by_all_alike(
    spoil: Callable[[Outgoing], Outgoing],
) -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(3)}
    for number in range(2):
        outs = {}
        for me, peer in peers.items():
            peer.method.local_step(number)
            outs[me] = peer.method.outgoing()
        outs[1] = spoil(outs[1])
        closed = network.close(number, outs)
        figures = [peer.method.incoming(network.swap(closed, me)) for me, peer in peers.items()]
        assert {(f["contributors"], f["refused"]) for f in figures} == {(2.0, 1.0)}
        assert len(digests(peers)) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"protect": "FirstAndLast"},
            r"dropRate: a drop rate of 0\.5 needs 2 of 4 layers left out",
        ),
        ({"drop_rate": "0.9"}, r"lower the rate to 0\.71 or below"),
        ({"protected_layers": [4]}, r"method\.dropPEFT\.protectedLayers names layer 4"),
    ],
    ids=str,
)
def test_settings_that_the_model_cannot_meet_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(Unsuited, match=message):
        Peer(0, **settings)


class Flat(ToyModel):
    """A model without a stack of layers."""

    network = nn.Linear(2, 2)


class Frozen(LayeredToy):
    """A model that trains nothing but its head."""

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        return [item for item in super().trainables() if item[0] == "head.weight"]


@pytest.mark.parametrize(
    ("model", "message"),
    [(Flat(), "Linear has no list of two or more layers"), (Frozen(), "targetModules")],
    ids=["flat", "frozen"],
)
def test_a_model_without_layers_to_train_is_refused(model: Any, message: str) -> None:
    with pytest.raises(Unsuited, match=rf"method\.type DropPEFT: .*{message}"):
        DropPeft(Settings(protect="None"), 0, SEED, model, ToyBatches())
