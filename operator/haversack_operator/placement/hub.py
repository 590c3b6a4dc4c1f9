"""Which node has room for the run log's pod: it takes a part of what the peers could have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .demand import PeerKind
from .fit import Room, misfits
from .waste import waste_of


def homes(
    hub: PeerKind, rooms: Sequence[Room], free: NDArray[np.int64], lost: NDArray[np.int64]
) -> list[int]:
    """Best first: where it costs the fewest peers, then on a node that is for everybody, then where
    it wastes least. Of nodes that are alike, one.

    ``free`` (N, R) begins with CPUs and memory; ``lost`` (N) are peers that would not fit any more.
    """
    enough = (free[:, :2] >= (hub.cpu_millis, hub.memory_bytes)).all(axis=1)
    fitting = [n for n in np.flatnonzero(enough).tolist() if not misfits(hub, rooms[n])]
    keys = {
        n: (
            int(lost[n]),
            bool(rooms[n].node.taints),
            waste_of(hub, rooms[n], hub.candidates[0]),
            tuple(free[n].tolist()),
        )
        for n in fitting
    }
    return sorted({key: n for n, key in reversed(keys.items())}.values(), key=keys.__getitem__)
