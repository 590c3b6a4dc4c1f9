"""Keys with due times, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import math

from hypothesis import given
from hypothesis import strategies as st

from haversack_operator.queue import Backoff, DueQueue, Worker


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_many_triggers_make_one_pass_at_the_earliest_time() -> None:
    clock = Clock()
    queue: DueQueue[str] = DueQueue(clock)
    for delay in (5.0, 1.0, 3.0):
        queue.add("a", delay)
    assert queue.take() is None
    assert queue.seconds_to_next() == 1.0
    clock.now = 9.0
    assert [queue.take(), queue.take()] == ["a", None]


def test_a_key_is_never_worked_on_twice_at_once_and_no_trigger_is_lost() -> None:
    queue: DueQueue[str] = DueQueue(Clock())
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    queue.add("b")
    assert [queue.take(), queue.take()] == ["b", None]
    assert queue.seconds_to_next() is None
    queue.done("a")
    assert queue.take() == "a"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 100)), max_size=30))
def test_keys_come_in_the_order_of_their_earliest_time(
    asked: list[tuple[str, float]],
) -> None:
    clock = Clock()
    queue: DueQueue[str] = DueQueue(clock)
    for key, delay in asked:
        queue.add(key, delay)
    clock.now = 100.0
    earliest = {key: min(at for other, at in asked if other == key) for key, _ in asked}
    taken = [key for key in iter(queue.take, None) if key is not None]
    assert [earliest[key] for key in taken] == sorted(earliest.values())
    assert len(queue) == 0


def test_backoff_doubles_and_is_bounded() -> None:
    backoff = Backoff(first_seconds=1.0, most_seconds=10.0, jitter=0.5)
    assert [backoff.delay(number, 0.0) for number in (1, 2, 3, 4, 5, 9999)] == [1, 2, 4, 8, 10, 10]
    assert backoff.delay(1, 1.0) == 1.5


async def test_errors_are_tried_again_and_a_gone_key_is_not() -> None:
    seen: list[str] = []
    over = asyncio.Event()

    async def work(key: str) -> float | None:
        seen.append(key)
        if seen.count("fails") == 3:
            over.set()
        if key == "fails" and seen.count("fails") < 3:
            raise RuntimeError("no")
        return math.inf

    worker = Worker(
        work,
        clock=asyncio.get_running_loop().time,
        backoff=Backoff(first_seconds=0.0),
        resync_seconds=0.0,
        expected=RuntimeError,
    )
    running = asyncio.create_task(worker.run())
    worker.add("fails")
    worker.add("gone")
    await over.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sorted(seen) == ["fails", "fails", "fails", "gone"]


async def test_no_more_passes_at_a_time_than_allowed() -> None:
    now, most = 0, 0
    done: list[int] = []
    over = asyncio.Event()

    async def work(key: int) -> float | None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        done.append(key)
        if len(done) == 20:
            over.set()
        return math.inf

    worker = Worker(work, clock=asyncio.get_running_loop().time, max_concurrent=3)
    for key in range(20):
        worker.add(key)
    running = asyncio.create_task(worker.run())
    await over.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (most, sorted(done)) == (3, list(range(20)))
