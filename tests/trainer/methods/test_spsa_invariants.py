"""What SPSA stands on, and the faults of plain loops that it must not have."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from toys import ToyBatches, ToyModel

from haversack_trainer.contract.records import HEADER_BYTES, Kind, Record
from haversack_trainer.method import Unsuited
from haversack_trainer.methods.spsa.directions import Signs, Term
from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.settings import Settings
from haversack_trainer.methods.spsa.words import key, mix
from haversack_trainer.model.state import digest

SEED = 17
EPS = 2.0**-7


def moved_to_and_fro(dtype: torch.dtype, eps: float, steps: int) -> float:
    """Root mean square of what is left after MeZO's perturbations in place, and no update."""
    generator = torch.Generator().manual_seed(0)
    theta = (torch.randn(512, generator=generator) * 0.02).to(dtype)
    before = theta.clone()
    for _ in range(steps):
        z = torch.randint(0, 2, (512,), generator=generator).to(dtype) * 2 - 1
        for scale in (eps, -2 * eps, eps):
            theta += scale * z
    return float((theta.double() - before.double()).square().mean().sqrt())


def test_perturbing_in_place_drifts_and_here_nothing_does() -> None:
    assert moved_to_and_fro(torch.bfloat16, 1e-3, 1000) > 1e-4
    assert moved_to_and_fro(torch.float32, 1e-3, 1000) > 0
    assert moved_to_and_fro(torch.float32, EPS, 1000) < 1e-7
    model = ToyModel()
    before = model.digest()
    method = Spsa(Settings(directions=100), 0, SEED, model, ToyBatches())
    for number in range(10):
        method.local_step(number)
    assert model.digest() == before


@given(
    st.lists(st.integers(0, 999), max_size=5),
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=6),
)
def test_shards_get_the_bits_of_the_whole(cuts: list[int], coefficients: list[float]) -> None:
    terms = [Term(key(SEED, 0, 0, j), c) for j, c in enumerate(coefficients)]
    whole = torch.linspace(-1, 1, 1000)
    sharded = whole.clone()
    signs = Signs(1000)
    signs.add(whole, 0, terms)
    for start, end in itertools.pairwise([0, *sorted(cuts), 1000]):
        signs.add(sharded[start:end], start, terms)
    assert torch.equal(sharded, whole)


def test_the_order_of_terms_would_show_so_it_is_fixed() -> None:
    terms = [Term(key(SEED, 0, 0, j), float(np.float32(0.1 / (j + 1)))) for j in range(16)]
    one, other = torch.linspace(-1, 1, 1000), torch.linspace(-1, 1, 1000)
    Signs(1000).add(one, 0, terms)
    Signs(1000).add(other, 0, terms[::-1])
    assert torch.allclose(one, other, atol=1e-6)
    assert not torch.equal(one, other)


def test_no_two_directions_of_a_step_have_one_key() -> None:
    """64 bits of hash: the directions of one peer never collide, since ``mix`` is a bijection."""
    keys = {key(SEED, 5, peer, direction) for peer in range(256) for direction in range(256)}
    assert len(keys) == 256 * 256


@given(st.integers(0, 2**64 - 1))
def test_mix_can_be_undone(x: int) -> None:
    def unshift(y: int, bits: int) -> int:
        found = y
        for _ in range(64 // bits):
            found = y ^ (found >> bits)
        return found

    y = unshift(mix(x), 31)
    y = unshift(y * pow(0x94D049BB133111EB, -1, 2**64) % 2**64, 27)
    assert unshift(y * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64, 30) == x


class RandomModel(ToyModel):
    """One with a layer that is random whatever the mode."""

    def sample_losses(self, batch: object) -> Tensor:
        noise = nn.functional.dropout(torch.ones(6), 0.1, training=True)
        return super().sample_losses(batch) * noise[:1] * 1.01 ** torch.randn(1)  # type: ignore[arg-type]


def test_a_model_that_is_random_even_when_not_trained_is_refused() -> None:
    with pytest.raises(Unsuited, match="two losses for one batch"):
        Spsa(Settings(), 0, SEED, RandomModel(), ToyBatches())


class TiedModel(ToyModel):
    """One that lists a tensor under two names."""

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        return [*super().trainables(), ("embedding", self.head)]


def test_a_tensor_under_two_names_is_refused() -> None:
    with pytest.raises(Unsuited, match="embedding and head are one tensor"):
        Spsa(Settings(), 0, SEED, TiedModel(), ToyBatches())


def test_bf16_is_refused() -> None:
    model = ToyModel()
    model.lora_a.data = model.lora_a.data.bfloat16()
    with pytest.raises(Unsuited, match=r"layer\.lora_A is torch\.bfloat16"):
        Spsa(Settings(), 0, SEED, model, ToyBatches())


def test_digests_see_every_byte() -> None:
    """A text of a numpy array leaves out what is in the middle of a long one."""
    tensor = torch.zeros(5000)
    other = tensor.clone()
    other[2500] = 1e-40
    assert str(tensor.numpy()) == str(other.numpy())
    assert digest([("w", tensor)]) != digest([("w", other)])


class Flat(ToyModel):
    """One long tensor under a loss that costs nothing."""

    def __init__(self, numel: int) -> None:
        super().__init__()
        self._tensor = nn.Parameter(torch.linspace(-1, 1, numel))

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        return [("w", self._tensor)]

    def sample_losses(self, batch: object) -> Tensor:
        return self._tensor.detach()[:6].clone()


@pytest.mark.parametrize("numel", [1_000_000, 10_000_000])
def test_bytes_do_not_depend_on_the_size_of_the_model(numel: int) -> None:
    method = Spsa(Settings(), 0, SEED, Flat(numel), ToyBatches())
    method.local_step(0)
    out = method.outgoing()
    assert out.blob is None
    assert len(Record(Kind.PAYLOAD, 0, 0, out.body, out.aux).encode()) == HEADER_BYTES + 8 == 24
