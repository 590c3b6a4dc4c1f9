"""DeMo: of each chunk's DCT coefficients the k largest (Peng, Quesnelle, Kingma; arXiv 2411.19870).

The momentum is kept in the DCT's domain: the transform is linear and orthonormal, so one forward transform of
the gradient and one inverse of the mean are all it takes, and for alpha = 1 what is sent and what stays
add up to the momentum bit by bit. Chunks are one-dimensional, over the flat bucket.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from .options import Options
from .schemes import TILE, Bucket, Sent, Tile
from .settings import MeanMode
from .sizes import index_bits, num_value_bytes, part_bytes
from .topk import top_rows
from .transform import BITS, add_forward, exponents, inverse, num_chunks, power_of_two
from .values import (
    decode_indices,
    decode_values,
    encode_indices,
    encode_values,
    rounded,
)

_SHARE_BITS: Final = 40
"""Of a sender's share of a mean, a whole number: the sum is exact in fp64, whatever the order."""


class Chosen(NamedTuple):
    """A sender's coefficients: row within the chunk and value, both of shape (k, G)."""

    rows: Tensor
    values: Tensor


class DeMo:
    """``momentum`` is of shape (c, G), coefficient-major."""

    keeps_momentum = True

    def __init__(self, options: Options) -> None:
        self._options = options
        self._bits = index_bits(options.chunk)

    def new_momentum(self, num_elements: int, device: torch.device) -> Tensor:
        chunk = self._options.chunk
        return torch.zeros(chunk, num_chunks(num_elements, chunk), device=device)

    def hold(self, momentum: Tensor, gradient: Tensor) -> None:
        for first, last in self._tiles(momentum.shape[1], momentum.device):
            self._take_in(momentum, gradient, first, last)

    def encode(self, bucket: Bucket, momentum: Tensor, gradient: Tensor) -> Sent:
        shape = (self._options.top_k, momentum.shape[1])
        rows = torch.empty(shape, dtype=torch.uint8, device=bucket.device)
        values = torch.empty(shape, device=bucket.device)
        scales = torch.empty(shape[1], device=bucket.device)
        energy = taken = torch.zeros((), dtype=torch.float64, device=bucket.device)
        for first, last in self._tiles(shape[1], bucket.device):
            part = self._take_in(momentum, gradient, first, last)
            best = top_rows(part, shape[0])
            largest = part.gather(0, best.long())
            scale = largest.abs().mean(0)
            seen = rounded(self._options.value_type, largest, scale)
            rest = largest - self._options.alpha * seen
            part.scatter_(0, best.long(), rest)
            energy = energy + _energy(seen)
            taken = taken + _energy(largest) - _energy(rest)
            rows[:, first:last], values[:, first:last], scales[first:last] = best, largest, scale
        data = encode_values(self._options.value_type, values, scales)
        data += encode_indices(rows.cpu().numpy().reshape(-1), self._bits)
        return Sent(data, float(energy), float(taken + _energy(momentum)))

    def take_back(self, bucket: Bucket, momentum: Tensor, part: Chosen) -> None:
        del bucket
        momentum.scatter_add_(0, part.rows.long(), self._options.alpha * part.values)

    def num_bytes(self, bucket: Bucket) -> int:
        return part_bytes(self._options, bucket.num_elements)

    def decode(self, bucket: Bucket, data: memoryview) -> Chosen:
        shape = self._shape(bucket)
        end = num_value_bytes(self._options.value_type, *shape)
        values = decode_values(self._options.value_type, data[:end], shape, bucket.device)
        rows = decode_indices(data[end:], self._bits, shape[0] * shape[1]).reshape(shape)
        return Chosen(torch.from_numpy(rows).to(bucket.device), values)

    def mean(self, bucket: Bucket, parts: Sequence[Chosen]) -> Iterator[Tile]:
        chunk, num_elements = self._options.chunk, bucket.num_elements
        shape = (TILE[bucket.device.type] // chunk, chunk)
        # Made once: fresh memory for each tile would cost more than the sums.
        sums = torch.empty(shape, dtype=torch.float64, device=bucket.device)
        counts = torch.empty(shape, device=bucket.device)
        for first, last in self._tiles(num_chunks(num_elements, chunk), bucket.device):
            tile = [
                Chosen(p.rows[:, first:last].t().long(), p.values[:, first:last].t()) for p in parts
            ]
            start, stop = first * chunk, min(last * chunk, num_elements)
            size = last - first
            yield start, stop, self._decoded(tile, sums[:size], counts[:size])[: stop - start]

    def _decoded(self, parts: Sequence[Chosen], sums: Tensor, counts: Tensor) -> Tensor:
        """fp64, flat. ``sums`` and ``counts``: scratch of shape (G, c)."""
        bound = torch.stack([part.values.abs().amax(1) for part in parts]).amax(0)
        exponent = exponents(bound)[:, None]
        scale = power_of_two(_SHARE_BITS - exponent)
        counts.zero_()
        for rows, values in parts:
            counts.scatter_add_(1, rows, (values != 0).float())
        if self._options.mean_mode is MeanMode.ALL:
            counts.fill_(len(parts))
        sums.zero_()
        for rows, values in parts:
            # By a tensor: a division by a number is a product with its rounded inverse on some devices.
            share = (values * scale).div_(counts.gather(1, rows).clamp_(min=1))
            sums.scatter_add_(1, rows, share.round_())
        sums.mul_(2.0 ** (BITS - _SHARE_BITS)).round_()
        return inverse(sums).mul_(power_of_two(exponent - 2 * BITS)).view(-1)

    def _shape(self, bucket: Bucket) -> tuple[int, int]:
        return self._options.top_k, num_chunks(bucket.num_elements, self._options.chunk)

    def _tiles(self, chunks: int, device: torch.device) -> Iterator[tuple[int, int]]:
        step = TILE[device.type] // self._options.chunk
        return ((first, min(first + step, chunks)) for first in range(0, chunks, step))

    def _take_in(self, momentum: Tensor, gradient: Tensor, first: int, last: int) -> Tensor:
        """Chunks ``first`` to ``last`` of the momentum, the gradient included."""
        chunk = self._options.chunk
        flat = gradient[first * chunk : last * chunk]
        missing = (last - first) * chunk - flat.numel()
        whole = pad(flat, (0, missing)) if missing else flat
        part = momentum[:, first:last]
        add_forward(part, whole.view(-1, chunk), self._options.beta)
        return part


def _energy(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values)
    return norm.double().square()
