"""A peer that comes back from its own checkpoint, after the others found that its weights differ."""

from __future__ import annotations

import copy

import torch
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.flexdemo.method import FlexDeMo
from haversack_trainer.methods.flexdemo.settings import Settings, ValueType

SETTINGS = Settings(learning_rate="0.01", checksum_every=4, top_k=1, value_type=ValueType.SIGN)
"""Payloads so small that rounds are replayed rather than a state asked for."""


def test_who_was_found_to_differ_does_not_come_back_as_if_in_step() -> None:
    network, models = ToyNetwork(), {n: ToyModel() for n in range(2)}
    peers = {n: FlexDeMo(SETTINGS, n, 17, models[n], ToyBatches(n)) for n in range(2)}
    for number in range(2):
        network.run(peers, number)
    with torch.no_grad():
        models[1].head[0, 0] += 1.0
    weights, state = models[1].trainable_state(), copy.deepcopy(peers[1].state_dict())
    for number in range(2, 5):
        network.run(peers, number)
    models[1] = ToyModel()
    models[1].load_trainable_state(weights)
    peers[1] = FlexDeMo(SETTINGS, 1, 17, models[1], ToyBatches(1))
    peers[1].load_state_dict(state)
    peers[1].catch_up(network.history[2:], network.fetch)
    network.run(peers, 5)
    assert models[1].digest() == models[0].digest()
