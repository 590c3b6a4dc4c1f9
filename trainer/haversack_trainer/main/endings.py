"""What each room's error means for the process: an exit code and one sentence."""

from __future__ import annotations

import sys
from typing import Final

from haversack_trainer.contract.exits import ExitCode


class BadJob(Exception):
    """The job cannot work as written; says what to change."""


_ENDINGS: Final = (
    ("haversack_trainer.exchange.base:Stopped", ExitCode.PREEMPTED),
    ("haversack_trainer.exchange.base:Superseded", ExitCode.PREEMPTED),
    ("haversack_trainer.main.endings:BadJob", ExitCode.BAD_JOB),
    ("haversack_trainer.config.errors:ConfigError", ExitCode.BAD_JOB),
    ("haversack_trainer.exchange.base:Refused", ExitCode.BAD_JOB),
    ("haversack_trainer.exchange.topology:TopologyError", ExitCode.BAD_JOB),
    ("haversack_trainer.exchange.base:ExchangeError", ExitCode.CRASHED),
    ("haversack_trainer.pod.team:LeaderGone", ExitCode.CRASHED),
    ("haversack_trainer.hub.journal:HubError", ExitCode.CRASHED),
    ("haversack_trainer.objects.base:StoreError", ExitCode.CRASHED),
    ("haversack_trainer.checkpoint.manifest:CheckpointError", ExitCode.CRASHED),
    ("haversack_trainer.evaluate.scores:EvaluateError", ExitCode.CRASHED),
    ("haversack_trainer.report.events:ReportError", ExitCode.CRASHED),
    ("haversack_trainer.data.space:NoSpace", ExitCode.BAD_NODE),
    ("builtins:MemoryError", ExitCode.BAD_NODE),
    ("torch:OutOfMemoryError", ExitCode.BAD_NODE),
)
"""First match counts. Named by text, so that a hub need not import what only peers raise."""


def ending(error: Exception) -> tuple[ExitCode, str | None]:
    """Exit code, and the sentence to log; None if nobody foresaw the error and its traceback is needed."""
    for reference, code in _ENDINGS:
        module, _, name = reference.partition(":")
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return code, str(error) or kind.__name__
    return ExitCode.CRASHED, None
