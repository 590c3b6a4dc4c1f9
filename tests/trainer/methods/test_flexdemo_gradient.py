"""What goes into FlexDeMo's momentum, and what comes out of it."""

from __future__ import annotations

import pytest
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.flexdemo.method import FlexDeMo
from haversack_trainer.methods.flexdemo.settings import Settings, ValueType

SEED = 17
FAST = Settings(learning_rate="0.01", beta="0.9", value_type=ValueType.FP32)


def test_micro_batches_only_cut_the_batch() -> None:
    methods = [
        FlexDeMo(FAST, 0, SEED, ToyModel(), ToyBatches(0, sizes=sizes))
        for sizes in ((6,), (3, 2, 1))
    ]
    for number in range(3):
        losses = [method.local_step(number).loss for method in methods]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        for method in methods:
            network = ToyNetwork()
            closed = network.close(number, {0: method.outgoing()})
            method.incoming(network.swap(closed, 0))


def test_a_payload_that_was_not_counted_goes_back_into_the_momentum() -> None:
    """A deadline closed the round without this peer."""
    models = [ToyModel(), ToyModel()]
    late, early = (
        FlexDeMo(FAST, peer, SEED, model, ToyBatches(peer)) for peer, model in enumerate(models)
    )
    late.local_step(0)
    early.local_step(0)
    (state,) = late._engine._optimizer.state.values()  # type: ignore[attr-defined]
    kept = float(state["momentum"].norm())
    assert late.outgoing().blob
    network = ToyNetwork()
    closed = network.close(0, {1: early.outgoing()})
    late.incoming(network.swap(closed, 0))
    early.incoming(network.swap(closed, 1))
    assert float(state["momentum"].norm()) > 1.05 * kept
    assert models[0].digest() == models[1].digest()
