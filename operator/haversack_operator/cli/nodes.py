"""The nodes that a command works with: an inventory, or this machine."""

from __future__ import annotations

from pathlib import Path

from haversack_operator.cluster.inventory import InventoryError, read_nodes, this_machine
from haversack_operator.snapshot import Node

from .words import InputError


def nodes_of(path: Path | None) -> tuple[Node, ...]:
    """Those of the file, or this machine as the only one. Raises ``InputError``."""
    if path is None:
        return (this_machine(),)
    try:
        return read_nodes(path)
    except InventoryError as error:
        raise InputError(str(error)) from error
