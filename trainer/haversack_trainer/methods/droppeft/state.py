"""The model's trainable tensors as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Tensors = dict[str, NDArray[np.float32]]


def is_finite(state: Tensors) -> bool:
    return all(np.isfinite(values).all() for values in state.values())


def tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """As the model takes them."""
    return {name: torch.from_numpy(values) for name, values in state.items()}
