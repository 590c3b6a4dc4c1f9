from __future__ import annotations

import numpy as np
import pytest

from haversack_trainer.methods.d2ft import scores as module
from haversack_trainer.methods.d2ft.scores import ScoreMemory, normalised

ALL = np.ones(2, bool)


def test_normalised_scores_have_mean_one() -> None:
    assert normalised(np.array([1.0, 2, 3])).tolist() == [0.5, 1.0, 1.5]
    assert normalised(np.zeros(3)).tolist() == [0, 0, 0]


def test_a_micro_batch_counts_as_its_records_were_last_seen() -> None:
    memory = ScoreMemory(2, 6, 0.0)
    assert ScoreMemory(2, 6, 0.0).is_empty
    memory.learn(np.array([1.0, 10]), ALL, np.array([0, 1]))
    memory.learn(np.array([3.0, 30]), ALL, np.array([2, 3]))
    assert not memory.is_empty
    found = memory.recall([np.array([0, 1]), np.array([1, 2]), np.array([4])])
    # A record not seen counts as the subnet's average, here the newest score.
    assert found.tolist() == [[1, 2, 3], [10, 20, 30]]


def test_old_scores_fade_and_unseen_subnets_keep_theirs() -> None:
    memory = ScoreMemory(2, 4, 0.9)
    memory.learn(np.array([1.0, 5]), ALL, np.array([0]))
    memory.learn(np.array([2.0, 99]), np.array([True, False]), np.array([0]))
    assert memory.recall([np.array([0])]).ravel().tolist() == pytest.approx([1.1, 5])
    memory.learn(np.array([np.nan, np.inf]), ALL, np.array([0]))
    assert memory.recall([np.array([0])]).ravel().tolist() == pytest.approx([1.1, 5])


def test_it_goes_from_process_to_process() -> None:
    memory, other, elsewhere = (ScoreMemory(2, n, 0.9) for n in (4, 4, 5))
    memory.learn(np.array([1.0, 5]), ALL, np.array([0, 3]))
    for one in (other, elsewhere):
        one.load_state_dict(memory.state_dict())
    records = [np.array([3]), np.array([1])]
    assert other.recall(records).tolist() == memory.recall(records).tolist()
    assert elsewhere.recall(records).tolist() == [[1, 1], [5, 5]]


def test_more_records_than_there_is_room_for_share_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CELLS", 6)
    memory = ScoreMemory(2, 100, 0.0)
    memory.learn(np.array([7.0, 8]), ALL, np.array([50]))
    memory.learn(np.array([1.0, 1]), ALL, np.array([51]))
    assert memory.recall([np.array([2]), np.array([0])]).tolist() == [[7, 1], [8, 1]]
