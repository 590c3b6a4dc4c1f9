"""The scheme that the settings ask for."""

from __future__ import annotations

from .demo import DeMo
from .options import Options
from .picked import Picked
from .schemes import Scheme
from .settings import Scheme as Name


def scheme_of(options: Options) -> Scheme:
    """DiLoCo sends like Full: its own is what happens before and after."""
    return DeMo(options) if options.scheme is Name.DEMO else Picked(options)
