"""Names, order and digests of tensors: what must be the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

from .errors import ModelError

ADAPTER = "default"
"""peft's name of the adapter that is trained."""


def canonical(name: str) -> str:
    """A parameter's name in an adapter file: without peft's adapter name and wrapper."""
    return name.replace(f".modules_to_save.{ADAPTER}", "").replace(f".{ADAPTER}", "")


def trainable_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Canonical name and parameter, sorted by name; a shared storage is listed once."""
    seen: set[int] = set()
    found: list[tuple[str, nn.Parameter]] = []
    named = ((canonical(name), p) for name, p in model.named_parameters() if p.requires_grad)
    for name, parameter in sorted(named, key=lambda item: item[0]):
        # What is loaded in parts has no storage of its own here.
        storage = parameter.data_ptr() if parameter.numel() else id(parameter)
        if storage not in seen:
            seen.add(storage)
            found.append((name, parameter))
    return found


def digest(
    tensors: Iterable[tuple[str, torch.Tensor]],
    whole: Callable[[torch.Tensor], torch.Tensor] = torch.detach,
) -> str:
    """sha256 over names, types, shapes and raw bytes, in order of name; hex. ``whole`` is asked for one tensor at
    a time: all of them together may not fit in memory."""
    running = hashlib.sha256()
    for name, part in sorted(tensors, key=lambda item: item[0]):
        tensor = whole(part).detach()
        running.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        flat = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)
        running.update(flat.numpy().data)
    return running.hexdigest()


def check_fits(
    shapes: Iterable[tuple[str, Sequence[int]]], state: Mapping[str, torch.Tensor]
) -> None:
    """Raises ``ModelError`` where names or shapes differ."""
    wanted = dict(shapes)
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        raise ModelError(
            f"the adapter state does not fit this model: {len(missing)} tensors are missing, "
            f"{len(extra)} are unknown, e.g. {(missing + extra)[0]}"
        )
    for name, shape in wanted.items():
        if tuple(state[name].shape) != tuple(shape):
            raise ModelError(
                f"the adapter state does not fit this model: {name} has shape {list(state[name].shape)}, "
                f"here {list(shape)}"
            )


def copy_into(
    parameters: Iterable[tuple[str, nn.Parameter]], state: Mapping[str, torch.Tensor]
) -> None:
    """Set every parameter from ``state``. Raises ``ModelError`` before anything is changed."""
    wanted = dict(parameters)
    check_fits([(name, parameter.shape) for name, parameter in wanted.items()], state)
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(state[name])
