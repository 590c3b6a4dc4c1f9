"""From a run's archived logs to its closed rounds, one after the other. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from haversack_trainer.contract.records import Record
from haversack_trainer.exchange.log import ClosedRound, RunState
from haversack_trainer.objects.base import Damaged

from .archive import Archive, LogPart


class CannotReplay(Exception):
    """The archive does not lead where it should; says why."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one log adds to the run: its rounds up to where the next log begins."""

    part: LogPart
    rounds: tuple[ClosedRound, ...]


def stretches(
    archive: Archive, logs: Sequence[Sequence[Record]], upto: int | None = None
) -> Iterator[Stretch]:
    """The run's rounds from its first to ``upto`` (default: all), by log, without those that were given up.

    ``logs`` holds the records of each of the archive's logs. Raises ``CannotReplay``, ``Damaged``.
    """
    last = archive.rounds if upto is None else upto
    if last > archive.rounds:
        raise CannotReplay(
            f"the log holds {archive.rounds} rounds, it does not reach round {last}: choose an earlier one"
        )
    done = 0
    for number, (part, records) in enumerate(zip(archive.logs, logs, strict=True)):
        if part.start.round != done:
            raise CannotReplay(
                f"a log begins at round {part.start.round}, but the one before ends at {done}"
            )
        following = archive.logs[number + 1 :]
        end = min(last, following[0].start.round if following else part.rounds)
        yield Stretch(part, _closed(part, records, end))
        done = end
        if done == last:
            return


def _closed(part: LogPart, records: Sequence[Record], end: int) -> tuple[ClosedRound, ...]:
    state = RunState()
    for record in records:
        state.apply(record)
    if (state.start, state.round) != (part.start, part.rounds):
        raise Damaged("the log does not say what the archive says of it: one of them was changed")
    found = tuple(closed for closed in state.closed if closed.round < end)
    if end > part.rounds:
        raise CannotReplay(
            f"a log ends after {part.rounds} rounds, but the next one begins at round {end}"
        )
    return found
