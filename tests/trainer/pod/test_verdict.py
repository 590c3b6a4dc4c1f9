"""How a pod has ended, from the ends of its processes."""

from __future__ import annotations

import pytest

from haversack_trainer.contract.exits import ExitCode
from haversack_trainer.pod.verdict import Ended, verdict


@pytest.mark.parametrize(
    ("ends", "code", "word"),
    [
        ([(0, 0), (1, 0)], ExitCode.DONE, None),
        # The run is over: what becomes of a follower does not matter any more.
        ([(0, 0), (1, -9)], ExitCode.DONE, None),
        ([(1, 0), (0, 75)], ExitCode.PREEMPTED, None),
        ([(0, 2), (1, 1)], ExitCode.BAD_JOB, None),
        ([(1, 2), (0, 2)], ExitCode.BAD_JOB, None),
        ([(0, 1), (1, 1)], ExitCode.CRASHED, None),
        ([(1, -9), (0, 1)], ExitCode.CRASHED, "process 1 of the pod's 2 was ended by signal 9"),
        ([(1, 42), (0, 1)], ExitCode.BAD_NODE, "process 1 of the pod's 2 ended with code 42"),
        ([(0, -9), (1, 1)], ExitCode.CRASHED, "process 0 of the pod's 2 was ended by signal 9"),
        # A process that leaves on its own, in the middle of a run, leaves the others helpless.
        ([(1, 0), (0, 1)], ExitCode.CRASHED, "process 1 of the pod's 2 ended with code 0"),
    ],
)
def test_the_pods_end(ends: list[tuple[int, int]], code: ExitCode, word: str | None) -> None:
    found, said = verdict([Ended(*end) for end in ends], len(ends))
    assert found is code
    assert (said or "").startswith(word or "")
    assert (said is None) == (word is None)
