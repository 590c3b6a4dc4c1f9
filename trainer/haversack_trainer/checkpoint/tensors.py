"""Tensors and trees of them to bytes and back, by safetensors: nothing is ever executed on loading.

A tree (a method's ``state_dict``) is one safetensors file: its tensors are numbered, its structure is
JSON in the file's metadata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from .manifest import CheckpointError

_TREE: Final = "tree"
_HEADER_LENGTH_BYTES: Final = 8


def encode_tensors(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Named tensors, e.g. an adapter's. Read back on the CPU, bit by bit the same."""
    data: bytes = save(_own(tensors), metadata={"format": "pt"})
    return data


def decode_tensors(data: bytes) -> dict[str, torch.Tensor]:
    """Inverse of ``encode_tensors``. Raises ``CheckpointError``."""
    try:
        tensors: dict[str, torch.Tensor] = load(data)
    except SafetensorError as error:
        raise CheckpointError(f"these bytes are no tensors: {error}") from error
    return tensors


def encode_state(state: Mapping[str, Any]) -> bytes:
    """A tree of dicts (keys: str or int), lists, tuples, tensors, numbers, strings, booleans and None.

    Raises ``CheckpointError`` for anything else, naming where it is.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _pack(dict(state), tensors, "state")
    data: bytes = save(_own(tensors), metadata={_TREE: json.dumps(tree, allow_nan=False)})
    return data


def decode_state(data: bytes) -> dict[str, Any]:
    """Inverse of ``encode_state``. Raises ``CheckpointError``."""
    tensors = decode_tensors(data)
    try:
        start = _HEADER_LENGTH_BYTES
        length = int.from_bytes(data[:start], "little")
        tree = json.loads(data[start : start + length])["__metadata__"][_TREE]
        state: dict[str, Any] = _unpack(json.loads(tree), tensors)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError("these bytes are tensors, but no state of a method") from error
    return state


def _own(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies with memory of their own, which safetensors asks for."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def _pack(value: Any, tensors: dict[str, torch.Tensor], at: str) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"float": str(value)}
        case torch.Tensor():
            tensors[str(len(tensors))] = value
            return {"tensor": str(len(tensors) - 1)}
        case list() | tuple():
            items = [_pack(item, tensors, f"{at}[{index}]") for index, item in enumerate(value)]
            return {"list" if isinstance(value, list) else "tuple": items}
        case dict():
            return {
                "dict": [
                    [_key(key, at), _pack(item, tensors, f"{at}[{key!r}]")]
                    for key, item in value.items()
                ]
            }
    raise CheckpointError(f"{at} is a {type(value).__name__}, which a checkpoint cannot hold")


def _key(key: Any, at: str) -> str | int:
    if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
        return key
    raise CheckpointError(f"{at} has the key {key!r}; keys are strings or whole numbers")


def _unpack(node: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, value),) = node.items()
    match kind:
        case "float":
            return float(value)
        case "tensor":
            return tensors[value]
        case "list":
            return [_unpack(item, tensors) for item in value]
        case "tuple":
            return tuple(_unpack(item, tensors) for item in value)
        case "dict":
            return {key: _unpack(item, tensors) for key, item in value}
    raise ValueError(kind)
