"""From the ends of a pod's processes to the end of the pod. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from haversack_trainer.contract.exits import ExitCode

TELLING: Final = (ExitCode.BAD_JOB, ExitCode.BAD_NODE, ExitCode.PREEMPTED)
"""What a process says on purpose; the most important first."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, or minus the signal that ended it."""

    rank: int
    code: int


def verdict(endings: Sequence[Ended], size: int) -> tuple[ExitCode, str | None]:
    """The pod's exit code, and a sentence where the first process cannot have told. ``endings`` are in order of time.

    The first process is the peer: what it says counts. Where it only saw the others vanish, theirs does.
    """
    codes = {end.rank: end.code for end in endings}
    if codes[0] == ExitCode.DONE or codes[0] in TELLING:
        return ExitCode(codes[0]), None
    others = {code for rank, code in codes.items() if rank}
    code = next((one for one in TELLING if one in others), ExitCode.CRASHED)
    first = endings[0]
    word = None if first.rank == 0 and first.code > 0 else _words(first, size)
    return code, word


def _words(first: Ended, size: int) -> str:
    how = (
        f"was ended by signal {-first.code}" if first.code < 0 else f"ended with code {first.code}"
    )
    return f"process {first.rank} of the pod's {size} {how}, so that all of them ended"
