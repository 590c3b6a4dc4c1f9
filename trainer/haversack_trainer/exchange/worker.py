"""A thread that does what it is given, one thing after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Begins with its first task. Its thread does not keep a process from ending."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Do ``task`` after those before it."""
        future: Future[T] = Future()
        self._tasks.put((future, task))
        if self._thread is None:
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        return future

    def close(self, timeout_seconds: float) -> None:
        """End after what was given so far; wait for that, but not for ever."""
        self._tasks.put(None)
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _work(self) -> None:
        while (given := self._tasks.get()) is not None:
            future, task = given
            try:
                future.set_result(task())
            except Exception as error:  # noqa: BLE001  # whoever waits for the result gets it
                future.set_exception(error)
