"""Groups on the processes of a pod: who sends what to whom for a micro-batch, as a function of its operations. Pure.

The first process runs the model's own code and so has every layer's hidden state x. At each part of a layer (attention,
feed-forward part) it sends x to the processes that have groups to run there and gets back what their groups add to it.
On the way back it sends the gradient of that to those with groups in full and gets the gradient of x. One sequence
holds all of it in the order of the model; a process's list is what concerns it of that, in the same order, so that no
two of them can wait for one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from .table import Op

FIRST: Final = 0
"""The process that runs the model's own code."""
_THERE_ONLY: Final = 2
_THERE_AND_BACK: Final = 4


class Kind(Enum):
    """What is sent; all of them have the hidden state's shape."""

    HIDDEN = "x"
    SUM = "what groups add to x"
    SUM_GRADIENT = "the gradient of that"
    HIDDEN_GRADIENT = "the gradient of x"

    @property
    def is_to_first(self) -> bool:
        return self in (Kind.SUM, Kind.HIDDEN_GRADIENT)


class Transfer(NamedTuple):
    """One message."""

    kind: Kind
    layer: int
    part: int
    other: int
    """The process at the other end: one is always the first."""

    @property
    def sender(self) -> int:
        return self.other if self.kind.is_to_first else FIRST

    @property
    def receiver(self) -> int:
        return FIRST if self.kind.is_to_first else self.other


@dataclass(frozen=True, slots=True)
class Hosts:
    """The process of each group, ``[layer][group]``."""

    of: tuple[tuple[int, ...], ...]
    num_processes: int

    @classmethod
    def even(cls, num_layers: int, num_groups: int, num_processes: int) -> Hosts:
        """Neighbours together, since they are computed as one; who has one group more changes from layer to layer."""
        return cls(
            tuple(
                tuple(
                    (group * num_processes // num_groups + layer) % num_processes
                    for group in range(num_groups)
                )
                for layer in range(num_layers)
            ),
            num_processes,
        )

    def groups(self, layer: int, process: int) -> tuple[int, ...]:
        """Those of a layer that are there, ascending."""
        return tuple(group for group, host in enumerate(self.of[layer]) if host == process)

    def ops(self, layer: int, process: int, ops: Sequence[Op]) -> tuple[Op, ...]:
        """Of a layer's operations those of its groups."""
        return tuple(ops[group] for group in self.groups(layer, process))


def transfers(
    ops: Sequence[Sequence[Op]], hosts: Hosts, num_parts: int, *, backward: bool
) -> tuple[Transfer, ...]:
    """Of one pass through all layers, ``ops[layer][group]``, and of the way back if there is one."""
    there: list[Transfer] = []
    back: list[list[Transfer]] = []
    for layer, of_layer in enumerate(ops):
        running = _having(of_layer, hosts, layer, (Op.FULL, Op.FORWARD))
        in_full = _having(of_layer, hosts, layer, (Op.FULL,))
        for part in range(num_parts):
            there += _both(Kind.HIDDEN, Kind.SUM, layer, part, running)
            back.append(_both(Kind.SUM_GRADIENT, Kind.HIDDEN_GRADIENT, layer, part, in_full))
    return (*there, *(transfer for both in reversed(back) for transfer in both if backward))


def _having(ops: Sequence[Op], hosts: Hosts, layer: int, wanted: Sequence[Op]) -> list[int]:
    """The other processes with such a group, ascending."""
    return sorted(
        {host for op, host in zip(ops, hosts.of[layer], strict=True) if op in wanted} - {FIRST}
    )


def _both(there: Kind, back: Kind, layer: int, part: int, others: Iterable[int]) -> list[Transfer]:
    return [Transfer(kind, layer, part, other) for kind in (there, back) for other in others]


def of_process(sequence: Iterable[Transfer], process: int) -> tuple[Transfer, ...]:
    """What concerns a process, in its order."""
    return tuple(one for one in sequence if process in (one.sender, one.receiver))


def num_transfers(
    ops: Sequence[Sequence[Op]], hosts: Hosts, num_parts: int, *, backward: bool
) -> int:
    """How many hidden states' worth goes over the wires: four for a process with a group in full in a layer, two for
    one with groups that are forward only, at each part. With a group to a process that is the paper's
    4·n_F + 2·n_O; several groups of a layer on one process go together."""
    total = 0
    for layer, of_layer in enumerate(ops):
        for process in range(1, hosts.num_processes):
            found = set(hosts.ops(layer, process, of_layer)) - {Op.SKIP}
            if found:
                both = backward and Op.FULL in found
                total += num_parts * (_THERE_AND_BACK if both else _THERE_ONLY)
    return total
