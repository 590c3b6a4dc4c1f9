"""Personalised layer sharing: which layers' tensors travel and which stay with their peer. Pure.

The paper shares some layers and keeps others private; what makes a layer private is ours to choose: by default
those whose gradients are largest on the peer's own data, for there the peers want different things.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from .settings import Settings, Share


def smoothed(
    before: Sequence[float] | None,
    now: Sequence[float],
    active: Sequence[int],
    memory: float,
) -> tuple[float, ...]:
    """Importance of each layer: ``memory`` of what it was, the rest what the round's active steps say; a
    layer that did not run keeps what it had, 0 if it never ran."""
    old = before or (0.0,) * len(now)
    return tuple(
        was if not count else (value if was == 0 else memory * was + (1 - memory) * value)
        for was, value, count in zip(old, now, active, strict=True)
    )


def num_shared(settings: Settings, adapted: Collection[int]) -> int:
    """Layers to share; half of them if the settings do not say."""
    wanted = settings.shared_layers
    return min(len(adapted), len(adapted) // 2 if wanted is None else wanted)


def choose(
    settings: Settings,
    adapted: Collection[int],
    importance: Sequence[float],
    previous: Collection[int] | None,
) -> frozenset[int]:
    """The layers to share from now on. Of the ``previous`` set at most ``maxShareChange`` goes at a time, but
    at least one layer may, so that the set neither flutters nor freezes."""
    if settings.share is Share.ALL:
        return frozenset(adapted)
    count = num_shared(settings, adapted)
    order = sorted(adapted, key=lambda layer: _rank(settings.share, layer, importance[layer]))
    wanted = order[:count]
    if previous is None or len(previous) != count:
        return frozenset(wanted)
    most = max(1, int(float(settings.max_share_change) * count))
    leaving = [layer for layer in reversed(order) if layer in previous and layer not in wanted][
        :most
    ]
    entering = [layer for layer in wanted if layer not in previous][: len(leaving)]
    return frozenset(previous) - frozenset(leaving) | frozenset(entering)


def _rank(share: Share, layer: int, importance: float) -> tuple[float, int]:
    """Lowest first; a layer that never ran has nothing of its own and is shared before all others."""
    if share is Share.FIXED_BOTTOM:
        return 0.0, layer
    if not importance:
        return -math.inf, layer
    return (importance if share is Share.LOW else -importance), layer
