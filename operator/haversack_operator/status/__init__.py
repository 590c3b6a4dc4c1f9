"""From a snapshot and what a pass made of it to the job's status and events. Pure."""

from .conditions import is_true
from .events import transitions
from .findings import Ending, Findings
from .summary import read_status, summarise, summarise_invalid, summarise_stall
from .times import active_seconds, parse, seconds_since
from .writing import plan_rows, worth_writing

__all__ = [
    "Ending",
    "Findings",
    "active_seconds",
    "is_true",
    "parse",
    "plan_rows",
    "read_status",
    "seconds_since",
    "summarise",
    "summarise_invalid",
    "summarise_stall",
    "transitions",
    "worth_writing",
]
