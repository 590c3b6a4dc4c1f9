"""What executors have in common: attributes of module instances replaced for a while, values without gradient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

_ABSENT: Final = object()


@contextmanager
def replaced(module: nn.Module, **attributes: Any) -> Iterator[None]:
    """The instance has these attributes; afterwards it has what it had, or its class's again."""
    own = module.__dict__
    before = {name: own.get(name, _ABSENT) for name in attributes}
    own.update(attributes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _ABSENT:
                del own[name]
            else:
                own[name] = value


def passing(value: Tensor, trained: Tensor) -> Tensor:
    """``value``, bit by bit, with the gradient of ``trained``."""
    return value + (trained - trained.detach())


def generators_kept(device: torch.device) -> AbstractContextManager[None]:
    """Afterwards torch's generators are as before: what is drawn inside is drawn again."""
    return torch.random.fork_rng([] if device.type == "cpu" else [device])
