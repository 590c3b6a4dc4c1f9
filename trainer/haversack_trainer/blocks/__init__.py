"""The layers of any transformer, an operation for each of them or for groups of heads, and executors that obey."""

from .cuts import Part
from .errors import BlocksError
from .executor import LayerExecutor
from .group_executor import GroupExecutor, GroupOps, Mode, Scales
from .groups import Groups, find_groups
from .layers import Layers, find_layers
from .projections import Projections, find_projections
from .table import Op, OpTable

__all__ = [
    "BlocksError",
    "GroupExecutor",
    "GroupOps",
    "Groups",
    "LayerExecutor",
    "Layers",
    "Mode",
    "Op",
    "OpTable",
    "Part",
    "Projections",
    "Scales",
    "find_groups",
    "find_layers",
    "find_projections",
]
