"""Adapter states without a model, as mixers and codecs see them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[np.float32]]
A, B, HEAD = "l.lora_A", "l.lora_B", "head"


def a_state(seed: int, rank: int = 2, scale: float = 1.0) -> State:
    """One adapted layer, 7 to 5, and a head."""
    random = np.random.default_rng(seed)
    shapes = {A: (rank, 7), B: (5, rank), HEAD: (3, 5)}
    return {name: (random.standard_normal(s) * scale).astype("f4") for name, s in shapes.items()}


def states(seed: int, num_peers: int, rank: int = 2) -> dict[int, State]:
    return {peer: a_state(1000 * seed + peer, rank) for peer in range(num_peers)}


def product(state: State) -> NDArray[np.float64]:
    """The update that the factors make."""
    return state[B].astype(np.float64) @ state[A].astype(np.float64)
