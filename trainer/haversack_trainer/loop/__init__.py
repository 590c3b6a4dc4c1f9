"""One peer's run: enter, train round by round, finish. SIGTERM is one flag, looked at in every wait."""

from .peer import Peer, Seat

__all__ = ["Peer", "Seat"]
