"""The samples of a step are a function of (seed, peer, step) and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from haversack_trainer.data import Batch, Batches, Samples

SAMPLES = Samples(tuple(f"text {i}" for i in range(100)))


def numbers(samples: Samples, indices: Any) -> Batch:
    """An encoder that shows which samples it was given."""
    return Batch({"index": torch.as_tensor(indices)}, len(indices))


def batches(part: list[int], size: int, micro: int, seed: int = 1, peer: int = 0) -> Batches:
    return Batches(
        numbers,
        SAMPLES,
        np.array(part),
        batch_size=size,
        micro_batch_size=micro,
        seed=seed,
        peer=peer,
    )


def flat(source: Batches, step: int) -> list[int]:
    return [int(i) for batch in source.micro_batches(step) for i in batch.tensors["index"]]


parts = st.lists(st.integers(0, 99), min_size=1, max_size=40, unique=True)


@settings(deadline=None)
@given(parts, st.integers(1, 20), st.integers(1, 20), st.integers(0, 10))
def test_a_step_is_the_same_whatever_came_before_and_however_it_is_cut(
    part: list[int], size: int, micro: int, step: int
) -> None:
    walked = batches(part, size, size)
    for earlier in range(step):
        walked.micro_batches(earlier)
    resumed = batches(part, size, micro)
    assert flat(walked, step) == flat(resumed, step)
    sizes = [batch.num_samples for batch in resumed.micro_batches(step)]
    assert sum(sizes) == size
    assert max(sizes) <= micro


@settings(deadline=None)
@given(parts, st.integers(1, 20))
def test_every_epoch_sees_every_sample_once(part: list[int], size: int) -> None:
    source = batches(part, size, size)
    seen = [i for step in range(3 * len(part)) for i in source.indices(step)]
    for start in range(0, 3 * len(part), len(part)):
        assert sorted(seen[start : start + len(part)]) == sorted(part)


def test_seeds_and_peers_go_their_own_ways() -> None:
    part = list(range(50))
    orders = {
        tuple(batches(part, 50, 50, seed=seed, peer=peer).indices(step))
        for seed in (1, 2)
        for peer in (0, 1)
        for step in (0, 1)
    }
    assert len(orders) == 8


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 5), st.integers(0, 3))
def test_the_processes_of_a_pod_share_a_step_out(
    size: int, micro: int, processes: int, step: int
) -> None:
    part = list(range(30))

    def of(share: tuple[int, int]) -> Batches:
        return Batches(
            numbers,
            SAMPLES,
            np.array(part),
            batch_size=size,
            micro_batch_size=micro,
            seed=1,
            peer=0,
            share=share,
        )

    shares = [of((process, processes)).micro_batches(step) for process in range(processes)]
    assert len({len(share) for share in shares}) == 1, "as many steps on every process"
    seen = [
        int(i)
        for share in shares
        for batch in share
        for i in batch.tensors["index"][: batch.num_samples]
    ]
    assert sorted(seen) == sorted(of((0, 1)).indices(step))
    assert all(len(batch.tensors["index"]) for share in shares for batch in share)


@settings(deadline=None)
@given(parts, st.integers(1, 20), st.integers(1, 8), st.integers(1, 5), st.integers(0, 3))
def test_a_step_in_pieces_is_the_same_step(
    part: list[int], size: int, micro: int, count: int, step: int
) -> None:
    source = batches(part, size, micro)
    pieces = source.pieces(step, count)
    assert len(pieces) == count
    lengths = [len(piece.records) for piece in pieces]
    assert max(lengths) - min(lengths) <= 1
    seen = [[int(i) for batch in piece.batches for i in batch.tensors["index"]] for piece in pieces]
    assert [i for piece in seen for i in piece] == source.indices(step).tolist()
    # Records are places in the part, the same ones in every step.
    assert [[sorted(part)[r] for r in piece.records] for piece in pieces] == seen
    assert all(batch.num_samples <= micro for piece in pieces for batch in piece.batches)


def test_a_batch_is_its_samples_one_by_one() -> None:
    batch = Batch({"ids": torch.arange(6).reshape(3, 2), "label": torch.arange(3)}, 3)
    cut = list(batch.samples())
    assert [one.num_samples for one in cut] == [1, 1, 1]
    assert [one.tensors["ids"].tolist() for one in cut] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert [one.tensors["label"].tolist() for one in cut] == [[0], [1], [2]]
