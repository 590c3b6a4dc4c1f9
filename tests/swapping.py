"""A round at one go, for those who do nothing meanwhile."""

from __future__ import annotations

from haversack_trainer.exchange.base import Exchange, Outgoing, Stop, Swap


def swap(exchange: Exchange, round: int, outgoing: Outgoing, stop: Stop = lambda: False) -> Swap:
    """Publish for ``round`` and wait until it closes."""
    exchange.publish(round, outgoing, stop)
    return exchange.collect(round, stop)
