"""A job has one runner on this machine, and who that is can be asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from haversack_operator.cluster.local_lock import AlreadyRunning, runner, running
from haversack_operator.cluster.local_state import StateError

HOLDER = (
    "import sys, time; from pathlib import Path\n"
    "from haversack_operator.cluster.local_lock import running\n"
    "with running(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)\n"
)


def test_a_second_runner_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "state/mine"
    assert runner(folder) is None
    with running(folder):
        assert runner(folder) == os.getpid()
        with pytest.raises(AlreadyRunning) as refused, running(folder):
            pass
        assert refused.value.pid == os.getpid()
    assert runner(folder) is None
    with running(folder):
        pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert runner(tmp_path) == process.pid
        process.send_signal(signal.SIGKILL)
    assert runner(tmp_path) is None


@pytest.mark.parametrize("folder", ["/proc/x/mine", "/dev/null/mine", "a\0b"])
def test_a_folder_that_cannot_be_made_is_one_sentence(folder: str) -> None:
    with (
        pytest.raises(StateError, match="cannot be used as a state folder"),
        running(Path(folder)),
    ):
        pass
