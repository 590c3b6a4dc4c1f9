"""Random, Striding and Full: elements that all peers pick alike, so that no index is sent. No transform.

Random takes the images of 0 .. m-1 under a bijection that is keyed by (seed, step, bucket): nothing to sort,
no generator whose state would have to be saved. Striding walks over all elements in T = ceil(1/rate) steps.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from .options import Options
from .schemes import TILE, Bucket, Sent, Tile
from .settings import Scheme as Name
from .settings import ValueType
from .sizes import num_picked, num_value_bytes, picked_shape
from .values import decode_values, encode_values, rounded

_ROUNDS: Final = 4

Positions = slice | Tensor


class Picked:
    """``momentum`` is the bucket's, flat; Full keeps none."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.keeps_momentum = options.scheme not in {Name.FULL, Name.DILOCO}
        self._picked: dict[str, tuple[Bucket, Positions]] = {}

    def new_momentum(self, num_elements: int, device: torch.device) -> Tensor:
        return torch.zeros(num_elements if self.keeps_momentum else 0, device=device)

    def hold(self, momentum: Tensor, gradient: Tensor) -> None:
        if self.keeps_momentum:
            momentum.mul_(self._options.beta).add_(gradient)

    def encode(self, bucket: Bucket, momentum: Tensor, gradient: Tensor) -> Sent:
        self.hold(momentum, gradient)
        whole = momentum if self.keeps_momentum else gradient
        before = float(torch.linalg.vector_norm(whole)) ** 2
        at = self.positions(bucket)
        values = whole[at]
        grouped, scales = self._grouped(values)
        seen = _flat(rounded(self._options.value_type, grouped, scales), values.numel())
        data = encode_values(self._options.value_type, grouped, scales)
        sent = Sent(data, float(torch.linalg.vector_norm(seen)) ** 2, before)
        if self.keeps_momentum:  # Last: all of these may be views of it.
            momentum[at] = values - self._options.alpha * seen
        return sent

    def take_back(self, bucket: Bucket, momentum: Tensor, part: Tensor) -> None:
        if self.keeps_momentum:
            momentum[self.positions(bucket)] += self._options.alpha * part

    def num_bytes(self, bucket: Bucket) -> int:
        return num_value_bytes(self._options.value_type, *self._shape(bucket))

    def decode(self, bucket: Bucket, data: memoryview) -> Tensor:
        values = decode_values(self._options.value_type, data, self._shape(bucket), bucket.device)
        return _flat(values, self.num_picked(bucket))

    def mean(self, bucket: Bucket, parts: Sequence[Tensor]) -> Iterator[Tile]:
        whole = None if self._takes_all(bucket) else self._in_place(bucket, _mean(parts))
        step = TILE[bucket.device.type]
        for start in range(0, bucket.num_elements, step):
            at = slice(start, start + step)
            tile = _mean([part[at] for part in parts]) if whole is None else whole[at]
            yield start, start + tile.numel(), tile.double()

    def num_picked(self, bucket: Bucket) -> int:
        """Elements sent; Striding's count depends on where it is."""
        if self._options.scheme is Name.STRIDING:
            return len(range(bucket.num_elements)[self._stride(bucket)])
        return num_picked(self._options, bucket.num_elements)

    def positions(self, bucket: Bucket) -> Positions:
        """What all peers pick of the bucket in this step."""
        if self._options.scheme is Name.STRIDING:
            return self._stride(bucket)
        if self._takes_all(bucket):
            return slice(None)
        known = self._picked.get(bucket.name)
        if known is None or known[0] != bucket:
            key = f"flexdemo/{self._options.seed}/{bucket.step}/{bucket.name}"
            picked = images(key, bucket.num_elements, self.num_picked(bucket))
            known = bucket, torch.from_numpy(picked).to(bucket.device)
            self._picked[bucket.name] = known
        return known[1]

    def _in_place(self, bucket: Bucket, picked: Tensor) -> Tensor:
        """Zeros where nothing was picked."""
        whole = torch.zeros(bucket.num_elements, device=bucket.device)
        whole[self.positions(bucket)] = picked
        return whole

    def _takes_all(self, bucket: Bucket) -> bool:
        return self.num_picked(bucket) == bucket.num_elements

    def _stride(self, bucket: Bucket) -> slice:
        period = math.ceil(1 / self._options.rate)
        first = (bucket.step + _number(bucket.name)) % period
        return slice(first, None, period)

    def _shape(self, bucket: Bucket) -> tuple[int, int]:
        """Rows and columns of the values: a column is what shares a scale."""
        return picked_shape(self._options.value_type, self.num_picked(bucket))

    def _grouped(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """As a matrix, padded with zeros, and, for signs, each column's mean magnitude over what is no padding."""
        rows, columns = picked_shape(self._options.value_type, values.numel())
        if self._options.value_type is not ValueType.SIGN:
            return values.reshape(rows, columns), values[:0]
        missing = -values.numel() % rows
        grouped = pad(values, (0, missing)).view(-1, rows).t()
        counts = torch.full((grouped.shape[1],), float(rows), device=values.device)
        counts[-1:] -= missing
        return grouped, grouped.abs().sum(0) / counts


def _mean(parts: Sequence[Tensor]) -> Tensor:
    """In fp32, added up in fp64 in their order."""
    sums = torch.zeros_like(parts[0], dtype=torch.float64)
    for values in parts:
        sums.add_(values)
    return sums.div_(torch.tensor(len(parts), dtype=torch.float64, device=sums.device)).float()


def _flat(grouped: Tensor, count: int) -> Tensor:
    return grouped.t().reshape(-1)[:count]


def _number(name: str) -> int:
    """Of a bucket, so that buckets of a step start at different places."""
    return sum(int(part) for part in name.split("."))


def images(key: str, domain: int, count: int) -> NDArray[np.int64]:
    """Where 0 .. count-1 go under a bijection of 0 .. domain-1 that ``key`` chooses; int64.

    A Feistel network of four rounds on the next power of two; what falls outside goes through it again
    until it falls inside (cycle walking), at most once on average.
    """
    bits = max(2, (domain - 1).bit_length())
    keys = np.frombuffer(hashlib.sha256(key.encode()).digest(), "<u4", count=_ROUNDS)
    found = _feistel(np.arange(count, dtype=np.int64), bits, keys)
    while (outside := np.flatnonzero(found >= domain)).size:
        found[outside] = _feistel(found[outside], bits, keys)
    return found


def _feistel(x: NDArray[np.int64], bits: int, keys: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Each round changes one half by a function of the other, which can be undone."""
    low = bits // 2
    mask_low, mask_high = (1 << low) - 1, (1 << (bits - low)) - 1
    left, right = (x >> low).astype(np.uint32), (x & mask_low).astype(np.uint32)
    for number, key in enumerate(keys):
        if number % 2:
            left ^= _mix(right + key) & np.uint32(mask_high)
        else:
            right ^= _mix(left + key) & np.uint32(mask_low)
    return (left.astype(np.int64) << low) | right


def _mix(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The finaliser of MurmurHash3 (Appleby, public domain)."""
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x
