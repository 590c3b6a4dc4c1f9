"""One pass over a job: observe, decide, apply. The only story of what the operator does.

``decide`` is pure and level-triggered: it looks at what is, never at what happened. A pass that was
cut off between any two writes is simply finished by the next one.
"""

from .decision import Decision
from .passes import Outcome, decide, run

__all__ = ["Decision", "Outcome", "decide", "run"]
