"""Peers that share a process in a bench do what peers with processes of their own do."""

from __future__ import annotations

import torch
from bench.memory_log import in_memory
from bench.together import Run, Scale, Stage


def test_replicas_of_one_process_stay_equal_and_learn() -> None:
    scale = Scale(peers=2, rounds=3, local_steps=1, batch_size=4, period=3)
    stage = Stage.of(scale, seed=17)
    settings = {"scheme": "Full", "update": "AdamW", "learningRate": "0.01"}
    before = stage.model.trainable_state()
    turns = stage.turns("FlexDeMo", settings, in_memory())
    Run(scale, stage.parts.held_out.take(range(8)), turns).all_rounds()
    first, second = (turn.model.trainable_state() for turn in turns)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(not torch.equal(first[name], before[name]) for name in first)
