"""Held-out losses, paired intervals, the gate."""

from .gate import judge
from .interval import bootstrap_interval
from .probe import probe
from .scores import EvaluateError, Scores, check_reload, evaluate

__all__ = [
    "EvaluateError",
    "Scores",
    "bootstrap_interval",
    "check_reload",
    "evaluate",
    "judge",
    "probe",
]
