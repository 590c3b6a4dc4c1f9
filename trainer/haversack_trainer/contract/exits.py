"""Exit codes of ``haversack-trainer``, and what the operator makes of each."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a peer or a hub ended."""

    DONE = 0
    """The run is over and this peer's part in it is kept."""

    CRASHED = 1
    """An unforeseen error: restart in place, then replace."""

    BAD_JOB = 2
    """The job cannot work as written: restarting would not help, the job fails."""

    BAD_NODE = 42
    """The node is unfit (architecture, memory, disk): place the peer elsewhere."""

    PREEMPTED = 75
    """Asked to stop, and the state of the last whole round is saved; or a newer process has its place.

    Nobody's fault, so that it counts against nobody."""
