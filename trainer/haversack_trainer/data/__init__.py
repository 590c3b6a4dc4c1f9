"""A job's samples: where they are, what they say, which peer trains on which, in which order."""

from .batches import Batch, Batches, Encoder
from .read import read
from .resolve import resolve
from .samples import DataError, Samples
from .space import NoSpace
from .split import Split, split

__all__ = [
    "Batch",
    "Batches",
    "DataError",
    "Encoder",
    "NoSpace",
    "Samples",
    "Split",
    "read",
    "resolve",
    "split",
]
