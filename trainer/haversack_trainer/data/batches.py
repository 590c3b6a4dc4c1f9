"""Which samples an optimizer step sees: a pure function of (seed, peer, step).

Nothing is remembered between steps, so a resumed peer needs no cursor: it asks for the step that it
is at. An epoch is one pass over the peer's part in an order of its own; a step may reach over the end
of an epoch into the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from .samples import Indices, Samples


@dataclass(frozen=True, slots=True)
class Batch:
    """A model's inputs for ``num_samples`` samples."""

    tensors: Mapping[str, torch.Tensor]
    num_samples: int

    def samples(self) -> Iterator[Batch]:
        """One at a time."""
        for at in range(self.num_samples):
            yield Batch({name: values[at : at + 1] for name, values in self.tensors.items()}, 1)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some samples of a step."""

    records: Indices
    """``[n]``, which of the peer's samples, counted from 0 in an order that never changes."""
    batches: Sequence[Any]
    """The same, in batches that fit in memory; each has ``num_samples``."""


Encoder = Callable[[Samples, Indices], Batch]
"""Turns the samples at some indices into tensors; ``FineTuned.encode``."""


class Batches:
    """The micro-batches of every optimizer step of one peer."""

    def __init__(
        self,
        encoder: Encoder,
        samples: Samples,
        part: Indices,
        *,
        batch_size: int,
        micro_batch_size: int,
        seed: int,
        peer: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """``part`` holds this peer's indices into ``samples``; it must not be empty. ``share``: which process this
        is, and how many there are, where several share out a step's samples."""
        self._encoder = encoder
        self._samples = samples
        self._part = part
        self._ordered = np.sort(part)
        self._batch_size = batch_size
        self._micro_batch_size = micro_batch_size
        self._seed = (seed, peer)
        self._process, self._num_processes = share
        self._epoch = lru_cache(maxsize=2)(self._permuted)

    @property
    def num_records(self) -> int:
        """Samples in this peer's part."""
        return len(self._part)

    def indices(self, step: int) -> Indices:
        """``[batch_size]`` indices into the samples for optimizer step ``step``, counted from the
        start of the run. They do not depend on the micro-batch size."""
        positions = range(step * self._batch_size, (step + 1) * self._batch_size)
        places = (divmod(position, len(self._part)) for position in positions)
        return np.array([self._epoch(epoch)[offset] for epoch, offset in places], np.int64)

    def micro_batches(self, step: int) -> list[Batch]:
        """This process's part of the step's samples, encoded, at most ``micro_batch_size`` at a time; the last may
        be smaller. All processes have equally many: one that lacks samples repeats some, with ``num_samples`` 0."""
        chosen, count, size = self.indices(step), self._num_processes, self._micro_batch_size
        own = chosen[self._process :: count]
        most = -(-len(chosen) // count)
        cut = [own[start : start + size] for start in range(0, most, size)]
        return [
            self._encoder(self._samples, piece)
            if len(piece)
            else replace(self._encoder(self._samples, chosen[:1]), num_samples=0)
            for piece in cut
        ]

    def pieces(self, step: int, count: int) -> list[Piece]:
        """The step's samples in ``count`` pieces, of which none has two samples more than another."""
        chosen, size = self.indices(step), self._micro_batch_size
        return [
            Piece(
                np.searchsorted(self._ordered, piece),
                [
                    self._encoder(self._samples, piece[start : start + size])
                    for start in range(0, len(piece), size)
                ],
            )
            for piece in np.array_split(chosen, count)
        ]

    def _permuted(self, epoch: int) -> Indices:
        return np.random.default_rng([*self._seed, epoch]).permutation(self._part)
