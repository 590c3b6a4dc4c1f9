"""FlexDeMo's parts: the transform, the selection, and what they become on the wire."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from devices import CPU, DEVICES
from flexdemo_nodes import EXACT, Nodes, same_bits, weights
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.methods.flexdemo.choosing import scheme_of
from haversack_trainer.methods.flexdemo.options import Options
from haversack_trainer.methods.flexdemo.picked import Picked, images
from haversack_trainer.methods.flexdemo.schemes import TILE, Bucket
from haversack_trainer.methods.flexdemo.settings import MeanMode, Scheme, ValueType
from haversack_trainer.methods.flexdemo.sizes import HEADER_BYTES, index_bits, num_index_bytes
from haversack_trainer.methods.flexdemo.topk import top_rows
from haversack_trainer.methods.flexdemo.transform import (
    add_forward,
    dct_matrix,
    exponents,
    fixed_matrix,
    inverse,
    power_of_two,
)
from haversack_trainer.methods.flexdemo.values import (
    decode_indices,
    decode_values,
    encode_indices,
    encode_values,
    rounded,
)

FIXED = [scheme for scheme in Scheme if scheme is not Scheme.AUTO]
CHUNKS = [16, 32, 64, 128, 256]


def slow_dct(x: list[float]) -> list[float]:
    """The definition of the orthonormal DCT-II."""
    n = len(x)
    return [
        math.sqrt((1 if u == 0 else 2) / n)
        * sum(value * math.cos(math.pi * (2 * i + 1) * u / (2 * n)) for i, value in enumerate(x))
        for u in range(n)
    ]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_matrix_is_orthonormal_and_the_dct(chunk: int) -> None:
    matrix = dct_matrix(chunk, CPU)
    assert torch.allclose(matrix @ matrix.T, torch.eye(chunk), atol=1e-6)
    x = weights([chunk])[0]
    momentum = torch.zeros(chunk, 1)
    add_forward(momentum, x[None], 0.0)
    assert momentum[:, 0].tolist() == pytest.approx(slow_dct(x.tolist()), abs=1e-5)
    assert float(momentum.norm()) == pytest.approx(float(x.norm()), rel=1e-5)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_no_entry_of_the_fixed_matrix_hangs_on_a_cosines_last_bit(chunk: int) -> None:
    table = dct_matrix(chunk, CPU).double()
    fixed = fixed_matrix(chunk, CPU)
    assert float((fixed * 2.0**-24 - table).abs().max()) < 2.0**-24
    exact = torch.tensor(
        [[math.cos(math.pi * (2 * n + 1) * u / (2 * chunk)) for n in range(chunk)] for u in range(chunk)],
        dtype=torch.float64,
    ) * math.sqrt(2 / chunk) * 2.0**24  # fmt: skip
    exact[0] = math.sqrt(1 / chunk) * 2.0**24
    # Far from a half, at which rounding turns: cosines are off by some 1e-16·2^24 = 2e-9 at most.
    assert float((exact - exact.floor() - 0.5).abs().min()) > 1e-6


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_inverse_is_exact_in_any_order(chunk: int, device: torch.device) -> None:
    """Equal to a sum of Python's whole numbers, however the inner dimension is permuted or blocked."""
    generator = torch.Generator().manual_seed(chunk)
    coefficients = torch.randint(-(2**24), 2**24 + 1, (9, chunk), generator=generator).double()
    coefficients[0] = (
        2.0**24 * fixed_matrix(chunk, CPU)[:, 1].sign()
    )  # the largest sums there can be
    result = inverse(coefficients.to(device)).cpu()
    order = torch.randperm(chunk, generator=generator)
    matrix = fixed_matrix(chunk, CPU)
    assert torch.equal(result, coefficients[:, order] @ matrix[order])
    half = chunk // 2
    parts = coefficients[:, :half] @ matrix[:half], coefficients[:, half:] @ matrix[half:]
    assert torch.equal(result, parts[0] + parts[1])
    ints = [[int(v) for v in row] for row in matrix.tolist()]
    for row in (0, 5):
        sums = [
            sum(int(coefficients[row, u]) * ints[u][n] for u in range(chunk)) for n in range(chunk)
        ]
        assert [int(v) for v in result[row].tolist()] == sums


@given(st.floats(min_value=0, max_value=2.0**127, width=32))
def test_exponents_bound_what_they_are_of(bound: float) -> None:
    power = power_of_two(exponents(torch.tensor([bound])))
    assert bound <= float(power)
    assert bound == 0 or float(power) <= 2 * bound


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("chunk", "k"), [(16, 1), (16, 16), (64, 4), (64, 3), (128, 7), (256, 64)])
def test_the_largest_are_found(chunk: int, k: int, device: torch.device) -> None:
    values = torch.randn(chunk, 50, generator=torch.Generator().manual_seed(k))
    rows = top_rows(values.to(device), k).cpu().long()
    best = values.abs().topk(k, 0).values
    assert torch.allclose(values.abs().gather(0, rows), best, rtol=2.0**-14)
    assert all(len(set(column.tolist())) == k for column in rows.T), "each is sent once"


def test_of_ties_the_lower_row_is_taken() -> None:
    assert top_rows(torch.ones(16, 2), 3).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert top_rows(torch.zeros(16, 1), 2).tolist() == [[0], [1]]


@given(st.sampled_from(CHUNKS), st.integers(0, 100), st.integers(0, 2**31))
def test_indices_come_back(chunk: int, count: int, seed: int) -> None:
    indices = np.random.default_rng(seed).integers(0, chunk, count).astype(np.uint8)
    bits = index_bits(chunk)
    data = encode_indices(indices, bits)
    assert len(data) == num_index_bytes(bits, count)
    assert decode_indices(memoryview(data), bits, count).tolist() == indices.tolist()


@pytest.mark.parametrize("kind", list(ValueType))
@pytest.mark.parametrize("shape", [(1, 1), (4, 3), (64, 2), (3, 17)])
def test_what_is_decoded_is_what_the_sender_reckons_with(
    kind: ValueType, shape: tuple[int, int]
) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    values[0, 0] = 3.4e38
    scales = values.abs().mean(0)
    data = encode_values(kind, values, scales)
    assert same_bits(
        decode_values(kind, memoryview(data), shape, CPU), rounded(kind, values, scales)
    )


def demo_bytes(n: int, value_type: ValueType) -> int:
    """K = 3 of c = 32: five bits of index, eight indices to a group."""
    chunks = math.ceil(n / 32)
    count = 3 * chunks
    signs = math.ceil(count / 8) + 2 * chunks
    values = {ValueType.FP32: 4 * count, ValueType.BF16: 2 * count, ValueType.SIGN: signs}
    return values[value_type] + 5 * math.ceil(count / 8)


def flat_bytes(count: int, value_type: ValueType) -> int:
    """Signs go by 64, with a scale for each."""
    signs = (8 + 2) * math.ceil(count / 64)
    return {ValueType.FP32: 4 * count, ValueType.BF16: 2 * count, ValueType.SIGN: signs}[value_type]


@pytest.mark.parametrize("scheme", FIXED)
@pytest.mark.parametrize("value_type", list(ValueType))
def test_the_length_of_a_payload(scheme: Scheme, value_type: ValueType) -> None:
    options = Options(scheme=scheme, value_type=value_type, rate=0.1, chunk=32, top_k=3)
    sizes = (1000, 33, 5)
    nodes = Nodes(options, sizes, count=1)
    expected = nodes.optimizers[0].payload_bytes()
    (payload,) = nodes.payloads([weights(sizes)])
    assert len(payload) == expected
    counts = {
        Scheme.RANDOM: [max(1, math.ceil(0.1 * n)) for n in sizes],
        Scheme.STRIDING: [len(range(number, n, 10)) for number, n in enumerate(sizes)],
    }.get(scheme, sizes)
    parts = [
        demo_bytes(n, value_type) if scheme is Scheme.DEMO else flat_bytes(count, value_type)
        for n, count in zip(sizes, counts, strict=True)
    ]
    assert len(payload) == HEADER_BYTES + sum(parts)


def test_a_kept_coefficient_takes_less_than_three_bytes_by_default() -> None:
    (payload,) = (nodes := Nodes(Options(), [64_000], count=1)).payloads([weights([64_000])])
    assert len(payload) / (64_000 / 64 * 4) == pytest.approx(2.75, abs=0.01)
    assert nodes.optimizers[0].metrics["energy_sent"] == pytest.approx(0.31, abs=0.02), (
        "white noise"
    )


@pytest.mark.parametrize("value_type", list(ValueType))
@pytest.mark.parametrize("scheme", [Scheme.DEMO, Scheme.RANDOM, Scheme.STRIDING])
@pytest.mark.parametrize("alpha", [1.0, 0.2])
def test_what_is_sent_and_what_stays_is_the_momentum(
    scheme: Scheme, value_type: ValueType, alpha: float
) -> None:
    options = Options(scheme=scheme, value_type=value_type, alpha=alpha, rate=0.2, beta=1.0)
    part, n = scheme_of(options), 150
    momentum = part.new_momentum(n, CPU)
    part.hold(momentum, weights([n], 1)[0])
    before = momentum.clone()
    bucket = Bucket("0.0", 3, n, CPU)
    sent = part.encode(bucket, momentum, torch.zeros(n))
    decoded = part.decode(bucket, memoryview(sent.data))
    taken = torch.zeros_like(momentum)
    if isinstance(part, Picked):
        taken[part.positions(bucket)] = decoded
    else:
        taken.scatter_(0, decoded.rows.long(), decoded.values)
    if alpha == 1 and value_type is not ValueType.SIGN:
        assert torch.equal(momentum + taken, before), "bit by bit"
    assert torch.allclose(momentum + alpha * taken, before, atol=1e-6)
    assert sent.energy == pytest.approx(float(taken.square().sum()), rel=1e-5)
    assert sent.energy_before == pytest.approx(float(before.square().sum()), rel=1e-5)


def test_all_gradients_are_applied_or_still_held() -> None:
    """Beta = 1, alpha = 1, no sign: the sum of the gradients is what was applied plus what stays."""
    options = replace(EXACT, beta=1.0, mean_mode=MeanMode.ALL, learning_rate=1.0)
    nodes, total = Nodes(options, [128], count=1), torch.zeros(128)
    start = nodes.flat()
    for number in range(20):
        gradient = weights([128], number)[0]
        total += gradient
        nodes.step([[gradient]])
    matrix = dct_matrix(64, CPU)
    held = (nodes.momentum()[0].T @ matrix).reshape(-1)
    assert torch.allclose(start - nodes.flat() + held, total, atol=1e-4)


def test_padding_changes_nothing_and_is_never_written() -> None:
    padded, even = Nodes(EXACT, [64 + 10], count=2), Nodes(EXACT, [64], count=2)
    for own in even.parameters:
        own[0].data.copy_(padded.flat()[:64])
    for number in range(3):
        gradients = [weights([74], 10 * number + node)[0] for node in range(2)]
        padded.step([[g] for g in gradients])
        even.step([[g[:64]] for g in gradients])
    assert torch.allclose(padded.flat()[:64], even.flat(), atol=1e-6)
    assert padded.momentum()[0].shape == (64, 2)


def test_zeros_that_are_sent_do_not_dilute_the_others() -> None:
    """A node with fewer coefficients than k sends zeros; a mean over those who selected leaves them out."""

    def step(mode: MeanMode) -> float:
        nodes = Nodes(replace(EXACT, mean_mode=mode), [64])
        start = nodes.flat()
        nodes.step([[torch.ones(64)], [torch.zeros(64)]])
        return float((start - nodes.flat())[0]) / EXACT.learning_rate

    assert step(MeanMode.SELECTED) == pytest.approx(1.0, rel=1e-5)
    assert step(MeanMode.ALL) == pytest.approx(0.5, rel=1e-5)


@given(st.integers(1, 5000), st.floats(0, 1), st.text(max_size=3))
def test_random_positions_are_distinct_and_inside(domain: int, share: float, key: str) -> None:
    count = max(1, math.ceil(share * domain))
    found = images(key, domain, count)
    assert len(set(found.tolist())) == count
    assert found.min() >= 0
    assert found.max() < domain


def test_all_elements_are_picked_about_equally_often() -> None:
    seen = np.zeros(1000)
    for step in range(400):
        seen[images(f"a/{step}", 1000, 100)] += 1
    assert abs(seen.mean() - 40) < 1e-9
    assert 30 < seen.var() < 42, "as a fair draw: 400·0.1·0.9 = 36"


@pytest.mark.parametrize("size", [1, 3, 8, 15, 100])
def test_tensors_smaller_than_one_over_the_rate_train(size: int) -> None:
    nodes = Nodes(replace(EXACT, scheme=Scheme.RANDOM, rate=1 / 16, beta=1.0), [size], count=1)
    start = nodes.flat()
    for _ in range(100):
        nodes.step([[torch.ones(size)]])
    assert ((start - nodes.flat()) > 0.1).all()


@pytest.mark.parametrize("rate", [1 / 16, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("size", [1, 7, 64, 100])
def test_striding_visits_each_element_once_in_a_period(rate: float, size: int) -> None:
    picked = Picked(Options(scheme=Scheme.STRIDING, rate=rate))
    period = math.ceil(1 / rate)
    seen = torch.zeros(size)
    for step in range(5, 5 + period):
        seen[picked.positions(Bucket("2.0", step, size, CPU))] += 1
    assert seen.tolist() == [1.0] * size


def test_a_bucket_larger_than_a_tile_is_worked_on_piece_by_piece() -> None:
    size = TILE["cpu"] + 100
    nodes = Nodes(replace(EXACT, chunk=16, top_k=16), [size], count=1)
    start, gradient = nodes.flat(), weights([size], 5)[0]
    nodes.step([[gradient]])
    moved = (start - nodes.flat()) / EXACT.learning_rate
    assert torch.allclose(moved, gradient, atol=1e-4)
