"""``graph: MeasuredLinks``: peers time what they fetch, tell it in the log, and the lowest peer plans a graph.

Until there is a plan, each round's graph is a ring and a second ring with longer and longer steps, so that all pairs
are measured after half as many rounds as there are peers. A plan is a word in the log: all follow the same, and none
needs the same floating point as the planner. Whoever leads next has read the same measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from statistics import median
from typing import Final

import numpy as np

from haversack_trainer.exchange.graphs import Edge
from haversack_trainer.exchange.links import planned
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import Fetch

from .kinds import Graph
from .settings import RHO_PERCENT, Settings
from .word import Word

Clock = Callable[[], float]
_MEGABYTE: Final = 1e6


class Stopwatch:
    """Fetches and times: seconds per megabyte by peer, as this peer saw them in the round."""

    def __init__(self, clock: Clock, fetch: Fetch) -> None:
        self.seconds: dict[int, float] = {}
        self._clock, self._fetch = clock, fetch

    def fetch(self, closed: ClosedRound, peer: int) -> bytes:
        """The peer's blob."""
        begin = self._clock()
        blob = self._fetch(closed, peer)
        self.seconds[peer] = (self._clock() - begin) / max(len(blob), 1) * _MEGABYTE
        return blob


class Survey:
    """What the log says of the links, and the plan that follows from it."""

    def __init__(self, rho: float) -> None:
        self._rho = rho
        self._seconds: dict[Edge, float] = {}
        """By (who fetched, from whom)."""
        self._peers: tuple[int, ...] = ()
        self._plan: tuple[Edge, ...] = ()

    def hear(self, words: Mapping[int, Word]) -> None:
        """Take in a round's measurements."""
        for peer, word in words.items():
            self._seconds |= {(peer, other): seconds for other, seconds in word.links.items()}

    def plan(self, peers: tuple[int, ...]) -> tuple[Edge, ...]:
        """Edges over ``peers``; none while too little is known. The same until the peers change."""
        costs = self._costs(peers)
        known = np.isfinite(costs)
        if peers != self._peers and (self._plan or (known.all() and len(peers) > 1)):
            if not known.all():
                # A newcomer's links are not measured yet.
                costs[~known] = median(self._seconds.values())
            edges = np.argwhere(np.triu(planned(costs, self._rho)))
            self._peers = peers
            self._plan = tuple((peers[one], peers[other]) for one, other in edges.tolist())
        return self._plan

    def _costs(self, peers: tuple[int, ...]) -> np.ndarray:
        """Seconds both ways; where only one is known, twice that; infinite where none is."""
        costs = np.full((len(peers), len(peers)), np.inf)
        np.fill_diagonal(costs, 0.0)
        for one, other in combinations(range(len(peers)), 2):
            ends = peers[one], peers[other]
            found = [self._seconds[way] for way in (ends, ends[::-1]) if way in self._seconds]
            if found:
                costs[one, other] = costs[other, one] = 2 * sum(found) / len(found)
        return costs


class Scout:
    """One peer's part in it."""

    def __init__(self, peer: int, rho: float) -> None:
        self.is_probing = True
        """Whether there was no plan in the newest round: then neighbours change from round to round."""
        self.links: Mapping[int, float] = {}
        """What it has timed in the newest round."""
        self._survey, self._peer = Survey(rho), peer
        self._peers: tuple[int, ...] = ()
        """Those of the newest round, ascending."""

    def say(self, word: Word) -> Word:
        """The word of the next round, with what was timed; the lowest peer's with the plan."""
        is_planner = self._peers[:1] == (self._peer,)
        plan = self._survey.plan(self._peers) if is_planner else ()
        return replace(word, links=self.links, plan=plan)

    def hear(self, said: Mapping[int, Word]) -> None:
        """Take in a round's words."""
        self._survey.hear(said)
        self._peers = tuple(said)
        if said:
            self.is_probing = not said[self._peers[0]].plan


def scout_of(settings: Settings, peer: int) -> Scout | None:
    """None where the graph does not hang on links."""
    if settings.graph is not Graph.MEASURED_LINKS:
        return None
    return Scout(peer, (settings.rho_percent or RHO_PERCENT) / 100)
