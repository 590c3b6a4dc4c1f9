"""All trainable parameters as one vector, changed piece by piece where they are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from .directions import Directions, Term


class ParameterVector:
    """The parameters in canonical order, each from its own offset on."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._ends = list(accumulate(parameter.numel() for parameter in parameters))
        self._copy: Tensor | None = None
        self._buffer: Tensor | None = None

    @property
    def numel(self) -> int:
        return self._ends[-1]

    @property
    def device(self) -> torch.device:
        return self._parameters[0].device

    def copy(self) -> Tensor:
        """A copy ``[d]``, in memory that the next ``copy`` uses again."""
        if self._copy is None or self._copy.device != self.device:
            self._copy = torch.empty(self.numel, device=self.device)
        self.read(self._copy)
        return self._copy

    def read(self, values: Tensor) -> None:
        """Set ``values [d]`` from all parameters."""
        self._read(values, 0)

    def write(self, values: Tensor) -> None:
        """Set all parameters from ``values [d]``."""
        self._write(values, 0)

    def place(self, origin: Tensor, directions: Directions, terms: Sequence[Term]) -> None:
        """Set the parameters to ``origin + sum of terms``. They are never moved back by subtraction, so
        that nothing drifts."""
        for start, end in directions.pieces(self.device):
            part = self._part(end - start).copy_(origin[start:end])
            directions.add(part, start, terms)
            self._write(part, start)

    def pieces(self, directions: Directions) -> Iterator[tuple[int, Tensor]]:
        """Start and values of each piece; what the caller leaves in it is written back."""
        for start, end in directions.pieces(self.device):
            part = self._part(end - start)
            self._read(part, start)
            yield start, part
            self._write(part, start)

    def _part(self, count: int) -> Tensor:
        """Memory for a piece, the same again and again: it stays in the cache."""
        if self._buffer is None or self._buffer.device != self.device or len(self._buffer) < count:
            self._buffer = torch.empty(count, device=self.device)
        return self._buffer[:count]

    def _read(self, part: Tensor, start: int) -> None:
        for own, there in self._overlaps(part, start):
            there.copy_(own)

    def _write(self, part: Tensor, start: int) -> None:
        for own, there in self._overlaps(part, start):
            own.copy_(there)

    def _overlaps(self, part: Tensor, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Slices of parameters, and those of ``part`` that lie over them."""
        end = start + part.numel()
        for index in range(bisect_right(self._ends, start), len(self._ends)):
            values = self._parameters[index].detach().view(-1)
            begin = self._ends[index] - values.numel()
            if begin >= end:
                return
            low, high = max(start, begin), min(end, self._ends[index])
            yield values[low - begin : high - begin], part[low - start : high - start]
