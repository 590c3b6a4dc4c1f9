from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from devices import DEVICES
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from haversack_trainer.methods.spsa.directions import (
    TILE,
    Signs,
    Term,
    add_signs,
    add_signs_on_device,
)
from haversack_trainer.methods.spsa.words import GAMMA, key, mix, words, words_on


def signs(z: int, start: int, count: int) -> NDArray[np.float32]:
    part = np.zeros(count, np.float32)
    add_signs(part, start, [Term(z, 1.0)])
    return part


def add(flat: torch.Tensor, terms: list[Term]) -> None:
    """As an update does it: piece by piece."""
    directions = Signs(flat.numel())
    for start, end in directions.pieces(flat.device):
        directions.add(flat[start:end], start, terms)


@pytest.mark.parametrize(
    ("state", "outputs"),
    [
        (1234567, (6457827717110365317, 3203168211198807973, 9817491932198370423)),
        (0, (16294208416658607535,)),
    ],
)
def test_words_are_those_of_the_published_splitmix64(state: int, outputs: tuple[int, ...]) -> None:
    assert tuple(int(w) for w in words(state, 0, len(outputs))) == outputs
    assert tuple(mix((state + (i + 1) * GAMMA) % 2**64) for i in range(len(outputs))) == outputs


@pytest.mark.parametrize(
    ("identifier", "hashed"),
    [
        ((0, 0, 0, 0), 8042686876864786922),
        ((17, 3, 2, 1), 17776389666006688319),
        ((17, 1, 2, 3), 13168837266478213777),
        ((9223372036854775808, 1000000, 1023, 255), 9737060936993869427),
    ],
)
def test_keys_are_frozen(identifier: tuple[int, int, int, int], hashed: int) -> None:
    """Seed, step, peer, direction: another order or salt would make another run of every log."""
    assert key(*identifier) == hashed


def test_signs_are_the_bits_of_the_words_lowest_first() -> None:
    z = key(17, 3, 2, 1)
    expected = [1.0 if int(w) >> bit & 1 else -1.0 for w in words(z, 0, 3) for bit in range(64)]
    assert signs(z, 0, 192).tolist() == expected


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("z", [0, 1, 2**63, 2**64 - 1, key(17, 3, 2, 1)])
def test_a_device_makes_the_same_words_and_signs(device: torch.device, z: int) -> None:
    assert np.array_equal(words_on(device, z, 5, 99).cpu().numpy().view(np.uint64), words(z, 5, 99))
    part = torch.zeros(999, device=device)
    add_signs_on_device(part, 77, [Term(z, 0.25), Term(z ^ 1, -1.5)])
    expected = np.zeros(999, np.float32)
    add_signs(expected, 77, [Term(z, 0.25), Term(z ^ 1, -1.5)])
    assert np.array_equal(part.cpu().numpy(), expected)


@given(st.integers(0, 2**64 - 1), st.integers(0, 700), st.integers(1, 300), st.integers(0, 1000))
def test_a_slice_is_the_slice_of_the_whole(z: int, start: int, count: int, rest: int) -> None:
    whole = signs(z, 0, start + count + rest)
    assert np.array_equal(signs(z, start, count), whole[start : start + count])


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_vector_longer_than_a_tile_gets_the_same_direction(device: torch.device) -> None:
    z, size = key(1, 2, 3, 4), TILE[device.type] + 1000
    flat = torch.zeros(size, device=device)
    add(flat, [Term(z, 0.5)])
    assert np.array_equal(flat.cpu().numpy(), signs(z, 0, size) * 0.5)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_terms_are_added_one_after_the_other_in_fp32(device: torch.device) -> None:
    flat = torch.randn(500, generator=torch.Generator().manual_seed(1))
    terms = [Term(key(5, 0, 0, j), c) for j, c in enumerate((1e-3, -0.25, 3.0))]
    expected = flat.numpy().copy()
    for term in terms:
        expected += np.float32(term.coefficient) * signs(term.key, 0, 500)
    on_device = flat.to(device)
    add(on_device, terms)
    assert np.array_equal(on_device.cpu().numpy(), expected)


def test_bits_are_balanced_and_directions_uncorrelated() -> None:
    size = 2**16
    drawn = [signs(key(17, t, m, j), 0, size) for t, m, j in itertools.product(range(3), repeat=3)]
    gram = np.array(drawn) @ np.array(drawn).T / np.sqrt(size)
    means = np.array([z.mean() for z in drawn]) * np.sqrt(size)
    apart = gram[~np.eye(len(drawn), dtype=bool)]
    assert np.abs(means).max() < 4.5
    assert np.abs(apart).max() < 4.5
    assert apart.std() == pytest.approx(1, abs=0.15)


def test_neighbouring_words_are_uncorrelated() -> None:
    z = signs(key(17, 0, 0, 0), 0, 2**18)
    for lag in (1, 64):
        assert abs((z[lag:] * z[:-lag]).mean()) * np.sqrt(len(z)) < 4.5


def test_every_field_of_the_key_counts_and_none_can_stand_for_another() -> None:
    keys = {key(*fields) for fields in itertools.product(range(4), repeat=4)}
    assert len(keys) == 4**4
