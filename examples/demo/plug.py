"""Pulls a plug half-way: a node goes with all that is on it, and the operator finds another place."""

from __future__ import annotations

from haversack_operator.cluster.local import LocalCluster


class Plug:
    """Called after every pass of the operator."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._pulled = False

    async def __call__(self, cluster: LocalCluster) -> str | None:
        """Once half of the rounds are done, take the node away."""
        progress = cluster.progress
        if self._pulled or progress is None or progress.round * 2 < progress.rounds:
            return None
        self._pulled = True
        gone = [str(pod.peer) for pod in await cluster.pods() if pod.node == self._node]
        await cluster.remove_node(self._node)
        return f"the plug of {self._node} is pulled: peer {', '.join(gone)} is gone without a word"
