"""A thread for things that are waited for elsewhere."""

from __future__ import annotations

from threading import Event

import pytest

from haversack_trainer.exchange.worker import Worker


def test_tasks_are_done_in_order_and_an_error_reaches_who_waits_for_it() -> None:
    worker, done, go = Worker("w"), list[int](), Event()
    first = worker.submit(lambda: go.wait(10))
    bad = worker.submit(lambda: 1 // 0)
    last = worker.submit(lambda: done.append(1))
    assert not bad.done()
    go.set()
    assert first.result(10)
    with pytest.raises(ZeroDivisionError):
        bad.result(10)
    last.result(10)
    assert done == [1]
    worker.close(10)


def test_a_worker_that_never_worked_has_nothing_to_end() -> None:
    Worker("w").close(10)
