"""How far a run is, for whoever watches: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

from tqdm import tqdm

from .units import counted, duration, size


@dataclass(frozen=True, slots=True)
class Standing:
    """What a line of progress tells."""

    round: int
    """Rounds done."""
    num_peers: int
    loss: float | None = None
    bytes_sent: int = 0

    def __str__(self) -> str:
        loss = "" if self.loss is None else f"loss {self.loss:.4f}, "
        return f"{loss}{counted(self.num_peers, 'peer')}, sent {size(self.bytes_sent)}"


class Progress(Protocol):
    """Something that shows a run's standing."""

    def show(self, standing: Standing) -> None:
        """Called once a round; cheap."""

    def close(self) -> None:
        """Leave the last standing visible."""


def open_progress(
    rounds: int,
    stream: TextIO,
    *,
    first_round: int = 0,
    period_seconds: float = 15.0,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """A bar if ``stream`` is a terminal, otherwise at most one line per ``period_seconds``."""
    if stream.isatty():
        return Bar(rounds, stream, first_round)
    return Lines(rounds, stream, first_round, period_seconds, clock)


class Bar:
    """A tqdm bar with an estimate of the time left."""

    def __init__(self, rounds: int, stream: TextIO, first_round: int) -> None:
        self._bar = tqdm(
            total=rounds, initial=first_round, file=stream, unit="round", dynamic_ncols=True
        )

    def show(self, standing: Standing) -> None:
        """See ``Progress.show``."""
        self._bar.set_postfix_str(str(standing), refresh=False)
        self._bar.update(standing.round - self._bar.n)

    def close(self) -> None:
        """See ``Progress.close``."""
        self._bar.close()


class Lines:
    """Plain lines, for logs."""

    def __init__(
        self,
        rounds: int,
        stream: TextIO,
        first_round: int,
        period_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._rounds, self._stream, self._clock = rounds, stream, clock
        self._period_seconds, self._first_round = period_seconds, first_round
        self._began = clock()
        self._due = self._began
        self._held_back: Standing | None = None

    def show(self, standing: Standing) -> None:
        """See ``Progress.show``."""
        self._held_back = standing
        if self._clock() >= self._due or standing.round >= self._rounds:
            self._write(standing)

    def close(self) -> None:
        """See ``Progress.close``."""
        if self._held_back is not None:
            self._write(self._held_back)

    def _write(self, standing: Standing) -> None:
        percent = 100 * standing.round // self._rounds
        print(
            f"round {standing.round}/{self._rounds} ({percent} %), {standing}{self._left(standing)}",
            file=self._stream,
            flush=True,
        )
        self._held_back = None
        self._due = self._clock() + self._period_seconds

    def _left(self, standing: Standing) -> str:
        done, left = standing.round - self._first_round, self._rounds - standing.round
        if done <= 0 or left <= 0:
            return ""
        return f", {duration((self._clock() - self._began) / done * left)} left"
