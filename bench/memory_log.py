"""A log in memory, for peers of one process, and the start of a run on any log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Door = Callable[[int], Any]
"""A peer's ``Exchange``, by its number."""


def never() -> bool:
    return False


def in_memory() -> Door:
    """To a log that this process keeps."""
    from haversack_trainer.exchange.memory import MemoryExchange, MemoryLog

    log = MemoryLog("bench")
    return lambda peer: MemoryExchange(log, peer)


def start(exchanges: Sequence[Any]) -> None:
    """All peers join, in order, and the first one starts the run."""
    from haversack_trainer.contract.membership import Identity, Join, Start
    from haversack_trainer.contract.records import Kind

    identity = Identity(base_model="", adapter="", trainables="", method="", seed="", data="")
    for peer, exchange in enumerate(exchanges):
        exchange.join(Join(identity=identity, incarnation=f"peer-{peer}"))
    first = exchanges[0]
    first.wait_for(lambda state: len(state.view) == len(exchanges), never)
    first.append(Kind.START, 0, Start().model_dump_json(by_alias=True).encode())
    for exchange in exchanges:
        exchange.wait_for(lambda state: state.start is not None, never)
