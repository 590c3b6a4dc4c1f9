"""A node of several processes: each has a part of the trainables, its own momentum and its own part of a payload."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import torch

from haversack_trainer.method import Trainee
from haversack_trainer.sharding import Shards

from .engine import Optimizing, decoded, digest_of, encoded, layout_of
from .options import Options
from .values import PayloadError
from .word import CHECKSUM_BYTES

_LENGTH: Final = struct.Struct("<I")


class SeveralProcesses(Optimizing):
    """An ``Engine``. Every function is called on all processes of the node, in the same order."""

    def __init__(
        self, model: Trainee, shards: Shards, options: Options, max_grad_norm: float
    ) -> None:
        self._model, self._shards, self._world = model, shards, shards.world
        self._max_norm = max_grad_norm or math.inf
        super().__init__(shards.partitions, options)

    def gradient(self, batch: Sequence[Any]) -> float:
        self._model.train(mode=True)
        # No two processes drop the same units.
        torch.manual_seed(torch.initial_seed() + self._world.rank)
        found = self._shards.gradient(self._model, batch, self._max_norm)
        if not found.is_finite:
            # No process takes its own part, even if that is finite.
            for part in self._shards.partitions():
                part.grad = torch.full_like(part, math.nan)
        return found.loss if found.is_finite else math.nan

    def inner_step(self) -> bool:
        is_taken = self._optimizer.inner_step()
        self._shards.updated()
        return is_taken

    def compress(self, *, hold: bool = False) -> bytes:
        parts = self._world.gather(self._optimizer.compress(hold=hold))
        return framed(parts) if all(parts) else b""

    def apply(self, payloads: Sequence[bytes]) -> int:
        num_counted = self._optimizer.apply([self._own_part(payload) for payload in payloads])
        self._shards.updated()
        return num_counted

    def _own_part(self, payload: bytes) -> bytes:
        """Empty, so that it does not count, where another number of processes has written it."""
        try:
            return parts_of(payload, self._world.size)[self._world.rank]
        except PayloadError:
            return b""

    def payload_bytes(self, options: Options | None = None) -> int:
        return self._in_frame(self._optimizer.payload_bytes(options))

    def take_back(self, payload: bytes) -> None:
        self._optimizer.take_back(self._own_part(payload))

    @property
    def shared_bytes(self) -> int:
        return self._in_frame(layout_of(self._optimizer).num_bytes)

    def _in_frame(self, num_bytes: int) -> int:
        (total,) = self._world.sums(num_bytes + _LENGTH.size)
        return int(total)

    def shared_state(self) -> bytes:
        return framed(self._world.gather(encoded(self._optimizer)))

    def load_shared_state(self, data: bytes) -> None:
        try:
            state = decoded(self._optimizer, parts_of(data, self._world.size)[self._world.rank])
            fault = None
        except PayloadError as error:
            state, fault = {}, str(error)
        # All take theirs, or none.
        faults = [one for one in self._world.gather(fault) if one]
        if faults:
            raise PayloadError(faults[0])
        self._optimizer.load_shared_state(state)
        self._shards.updated()

    def checksum(self) -> bytes:
        own = self._world.gather(digest_of(self._optimizer))
        return hashlib.sha256(b"".join(own)).digest()[:CHECKSUM_BYTES]

    def state_dict(self, *, with_gradient: bool) -> dict[str, Any]:
        """This process's own."""
        parts = self._shards.partitions() if with_gradient else ()
        return {
            "optimizer": dict(self._optimizer.state_dict()),
            "gradient": [part.grad for part in parts],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        for part, gradient in zip(self._shards.partitions(), state["gradient"], strict=False):
            part.grad = None if gradient is None else gradient.to(part)


def framed(parts: Sequence[bytes]) -> bytes:
    """The processes' parts as one payload."""
    return b"".join(_LENGTH.pack(len(part)) for part in parts) + b"".join(parts)


def parts_of(payload: bytes, num_processes: int) -> list[bytes]:
    """Inverse of ``framed``. Raises ``PayloadError`` where so many processes have not written it."""
    end = num_processes * _LENGTH.size
    if len(payload) < end:
        raise PayloadError(f"{len(payload)} bytes are no parts of {num_processes} processes")
    lengths = [length for (length,) in _LENGTH.iter_unpack(payload[:end])]
    if end + sum(lengths) != len(payload):
        raise PayloadError(
            f"a payload of {len(payload)} bytes was not written by {num_processes} processes like these; "
            "all peers must have the same accelerator.count or processes"
        )
    parts = []
    for length in lengths:
        parts.append(payload[end : end + length])
        end += length
    return parts
