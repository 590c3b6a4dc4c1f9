"""Pulls a plug half-way: a node goes with all that is on it, and the operator finds another place."""

from __future__ import annotations

from haversack_operator.cluster.local import LocalCluster


class Plug:
    """Called after every pass of the operator."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._pulled = False

    async def __call__(self, cluster: LocalCluster) -> str | None:
        """Once half of the rounds are done, take the node of the pool's last peer away."""
        progress = cluster.progress
        if self._pulled or progress is None or progress.round * 2 < progress.rounds:
            return None
        peers = [pod for pod in await cluster.pods() if pod.pool == self._pool]
        victim = max(peers, key=lambda pod: pod.peer or 0)
        if victim.node is None:
            return None
        self._pulled = True
        await cluster.remove_node(victim.node)
        return f"the plug of {victim.node} is pulled: peer {victim.peer} is gone without a word"
