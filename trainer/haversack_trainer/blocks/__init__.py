"""The layers of any transformer, an operation for each of them, and the executor that obeys."""

from .errors import BlocksError
from .executor import LayerExecutor
from .layers import Layers, find_layers
from .projections import Projections, find_projections
from .table import Op, OpTable

__all__ = [
    "BlocksError",
    "LayerExecutor",
    "Layers",
    "Op",
    "OpTable",
    "Projections",
    "find_layers",
    "find_projections",
]
