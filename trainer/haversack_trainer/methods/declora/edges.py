"""Graphs from the job: what is wrong with a list of edges. No torch here, as in ``settings``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def fault_of_edges(
    texts: Sequence[str] | None, pairs: Sequence[tuple[int, int]], num_peers: int
) -> str | None:
    """What is wrong with the listed graph over so many peers; ``pairs``: ``texts`` as numbers."""
    if texts is None:
        return None
    for text, ends in zip(texts, pairs, strict=True):
        if max(ends) >= num_peers:
            return (
                f"edges: {text} names peer {max(ends)}, but the job's {num_peers} peers are 0 to "
                f"{num_peers - 1}; correct it"
            )
        if ends[0] == ends[1]:
            return f"edges: {text} leads from a peer to itself; remove it"
    reached = _reached(pairs)
    alone = [str(peer) for peer in range(num_peers) if peer not in reached]
    if alone:
        return (
            f"edges: do not connect peer {alone[0]} with peer 0; add an edge between the two parts"
        )
    return None


def _reached(edges: Iterable[tuple[int, int]]) -> set[int]:
    """Whom peer 0 is connected with."""
    neighbours: dict[int, set[int]] = {}
    for one, other in edges:
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    reached, frontier = {0}, [0]
    while frontier:
        new = neighbours.get(frontier.pop(), set()) - reached
        reached |= new
        frontier.extend(new)
    return reached
