from __future__ import annotations

import pytest
import torch

from haversack_trainer.checkpoint.manifest import CheckpointError
from haversack_trainer.config import ConfigError
from haversack_trainer.contract.exits import ExitCode
from haversack_trainer.data import NoSpace
from haversack_trainer.evaluate import EvaluateError
from haversack_trainer.exchange.base import (
    Evicted,
    ExchangeError,
    Refused,
    Stale,
    Stopped,
    Superseded,
)
from haversack_trainer.exchange.topology import TopologyError
from haversack_trainer.hub.journal import HubError
from haversack_trainer.main.endings import BadJob, ending
from haversack_trainer.objects.base import NotFound, StoreError
from haversack_trainer.report.events import ReportError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Stopped("x"), ExitCode.PREEMPTED),
        (BadJob("x"), ExitCode.BAD_JOB),
        (ConfigError("x"), ExitCode.BAD_JOB),
        (Refused("x"), ExitCode.BAD_JOB),
        (TopologyError("x"), ExitCode.BAD_JOB),
        (Superseded("x"), ExitCode.PREEMPTED),
        (Stale("x"), ExitCode.CRASHED),
        (Evicted("x"), ExitCode.CRASHED),
        (ExchangeError("x"), ExitCode.CRASHED),
        (HubError("x"), ExitCode.CRASHED),
        (StoreError("x"), ExitCode.CRASHED),
        (NotFound("x"), ExitCode.CRASHED),
        (CheckpointError("x"), ExitCode.CRASHED),
        (EvaluateError("x"), ExitCode.CRASHED),
        (ReportError("x"), ExitCode.CRASHED),
        (NoSpace("x"), ExitCode.BAD_NODE),
        (MemoryError("x"), ExitCode.BAD_NODE),
        (torch.OutOfMemoryError("x"), ExitCode.BAD_NODE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_foreseen_error_is_a_code_and_a_sentence(error: Exception, code: ExitCode) -> None:
    assert ending(error) == (code, "x")


def test_an_unforeseen_error_keeps_its_traceback() -> None:
    assert ending(ZeroDivisionError("x")) == (ExitCode.CRASHED, None)
