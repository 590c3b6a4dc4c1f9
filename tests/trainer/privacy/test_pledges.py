"""Whatever a peer is killed at, every noised state that left it is counted."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from report_cases import a_job

from haversack_trainer.checkpoint.manifest import Meta
from haversack_trainer.contract.membership import Identity
from haversack_trainer.contract.privacy import DeltaPrivacy
from haversack_trainer.exchange.base import Stopped
from haversack_trainer.exchange.rounds import ClosedRound, Payload
from haversack_trainer.loop.saves import Saves
from haversack_trainer.loop.snapshot import Snapshot
from haversack_trainer.method import SPENT
from haversack_trainer.objects.base import Away, ObjectInfo
from haversack_trainer.objects.file import FileStore
from haversack_trainer.privacy.account import Use, epsilon
from haversack_trainer.privacy.guard import Guard

PRIVACY = DeltaPrivacy(noise_multiplier="3")


def a_guard() -> Guard:
    return Guard(PRIVACY, 1, Use(8, 4, 1))


class Death(Enum):
    """What the process was killed at."""

    NONE = 0
    BEFORE_THE_PLEDGE = 1
    BEFORE_THE_BLOB = 2
    BEFORE_THE_RECORD = 3
    IN_THE_OPEN_ROUND = 4
    BEFORE_THE_CHECKPOINT = 5


class World:
    """A peer's rounds, with what is left when its process is gone: pledge, checkpoint, closed rounds of the log."""

    def __init__(self) -> None:
        self.pledged: list[int] = []
        self.saved: list[int] | None = None
        self.saved_through = 0
        self.closed: list[ClosedRound] = []
        self.num_left = 0
        self.guard = a_guard()

    def a_round(self, death: Death, *, saves: bool) -> None:
        number = len(self.closed)
        assert self.guard.begins(number)
        if death is not Death.BEFORE_THE_PLEDGE:
            self.pledged = self.guard.pledge or []
            self.num_left += death is not Death.BEFORE_THE_BLOB
        counts = death in {Death.NONE, Death.BEFORE_THE_CHECKPOINT}
        members = (Payload(0, b"blob"),) if counts else ()
        self.closed.append(ClosedRound(number, (0,) if counts else (), members, number))
        if death is not Death.NONE:
            self.come_back()
        elif saves:
            self.saved, self.saved_through = self.guard.state(), number + 1

    def come_back(self) -> None:
        extra = Snapshot(0, {}, {SPENT: self.saved}).with_spent(self.pledged).extra or {}
        self.guard = a_guard()
        self.guard.load(extra.get(SPENT))
        for closed in self.closed[self.saved_through :]:
            self.guard.recall(closed, 0)

    def lose_the_log(self) -> None:
        """All begin anew from the checkpoint, with another log."""
        del self.closed[self.saved_through :]
        self.come_back()


@given(st.lists(st.tuples(st.sampled_from(Death), st.booleans(), st.booleans()), max_size=12))
def test_nothing_that_left_is_forgotten(course: list[tuple[Death, bool, bool]]) -> None:
    world = World()
    for death, saves, loses_log in course:
        world.a_round(death, saves=saves)
        if loses_log:
            world.lose_the_log()
    assert world.guard.told["epsilon"] >= epsilon(world.num_left, 3.0, 1e-5)


class Failing(FileStore):
    """Away, so many times."""

    num_failures = 0

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectInfo:
        if self.num_failures:
            self.num_failures -= 1
            raise Away("busy")
        return super().put(key, data, if_absent=if_absent, if_match=if_match)

    def within(self, _seconds: float) -> Failing:
        return self


def test_a_pledge_waits_for_the_store(tmp_path: Path) -> None:
    store = Failing(tmp_path)
    identity = Identity(base_model="b", adapter="a", trainables="t", method="m", seed="1", data="d")
    saves = Saves(store, Meta(run=a_job().run, method="m", base_model="b", identity=identity), 3, 2)
    assert saves.pledged() == []
    store.num_failures = 1
    saves.pledge([4, 5, 0, 6], lambda: False)
    assert saves.pledged() == [4, 5, 0, 6]
    store.num_failures = 99
    with pytest.raises(Stopped):
        saves.pledge([5, 6, 0, 7], lambda: True)
    assert saves.pledged() == [4, 5, 0, 6]


def test_what_was_pledged_and_what_was_saved_add_up() -> None:
    saved = Snapshot(3, {"w": torch.zeros(1)}, {SPENT: [3, 3, 0, 9], "optimizer": 1})
    assert saved.with_spent([4, 5, 1, 6]).extra == {SPENT: [4, 5, 1, 9], "optimizer": 1}
    assert Snapshot(0, {}).with_spent([1, 1, 0, 1]).extra == {SPENT: [1, 1, 0, 1]}
