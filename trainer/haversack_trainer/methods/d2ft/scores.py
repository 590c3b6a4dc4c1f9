"""What scores become before they are scheduled by: the memory of them, and how they are mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from .knapsack import Values

Records = NDArray[np.int64]
MOST_CELLS: Final = 2**24
"""Of the memory: with more records than fit, several share a place."""


def normalised(scores: Values) -> Values:
    """With mean 1, so that scores of different kinds can be added; zeros stay zeros."""
    mean = float(scores.mean())
    return scores / mean if mean > 0 else np.zeros_like(scores)


class ScoreMemory:
    """What each subnet scored on each record of the peer, and on average.

    Micro-batches are not the same from step to step, records are: a micro-batch's score is the mean of what its
    records were last seen with, each of them the score of the micro-batch it was in. A record not seen yet counts as
    the subnet's average.
    """

    def __init__(self, num_subnets: int, num_records: int, decay: float) -> None:
        """``decay``: how much of a score is that of earlier times."""
        places = max(1, min(num_records, MOST_CELLS // num_subnets))
        self._decay = decay
        self._means = np.full(num_subnets, np.nan)
        self._of_record = np.full((num_subnets, places), np.nan, np.float32)

    @property
    def is_empty(self) -> bool:
        """Whether some subnet has never been scored."""
        return bool(np.isnan(self._means).any())

    def learn(self, scores: Values, seen: NDArray[np.bool_], records: Records) -> None:
        """``scores [K]`` of a micro-batch of these records, of the subnets ``seen [K]``. What is not finite is
        passed over."""
        seen = seen & np.isfinite(scores)
        places = records % self._of_record.shape[1]
        self._means[seen] = self._mixed(self._means[seen], scores[seen])
        cells = np.ix_(seen, places)
        fresh = np.broadcast_to(scores[seen, None], (int(seen.sum()), len(places)))
        self._of_record[cells] = self._mixed(self._of_record[cells], fresh)

    def _mixed(self, old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        return np.where(np.isnan(old), new, self._decay * old + (1 - self._decay) * new)

    def recall(self, pieces: Sequence[Records]) -> Values:
        """``[K, N]``, the scores of micro-batches of these records; subnets never scored count as the mean."""
        usual = np.where(np.isnan(self._means), _mean(self._means), self._means)
        columns = []
        for records in pieces:
            found = self._of_record[:, records % self._of_record.shape[1]]
            columns.append(np.where(np.isnan(found), usual[:, None], found).mean(axis=1))
        return np.stack(columns, axis=1).astype(np.float64)

    def state_dict(self) -> dict[str, Any]:
        return {
            "means": torch.from_numpy(self._means.copy()),
            "of_record": torch.from_numpy(self._of_record.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Scores of another part of the data are left behind, but for the averages."""
        self._means = state["means"].numpy().copy()
        if tuple(state["of_record"].shape) == self._of_record.shape:
            self._of_record = state["of_record"].numpy().copy()


def _mean(scores: Values) -> float:
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else 1.0
