"""Drives one job on this machine to its end: the operator's pass, over and over, with a person watching."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from haversack_operator import reconcile
from haversack_operator.api import names
from haversack_operator.cluster.base import ClusterError
from haversack_operator.cluster.local import LocalCluster
from haversack_operator.cluster.local_state import is_true
from haversack_operator.resources import PodSettings

from . import live
from .screen import Screen

PASS_SECONDS: Final = 1.0
"""At least this often the hub is asked how far the run is."""
THIS_MACHINE: Final = PodSettings(trainer_image="this-machine")

Hook = Callable[[LocalCluster], Awaitable[str | None]]
"""Called after every pass; what it returns is told."""


class Outcome(StrEnum):
    """How a session ended."""

    COMPLETE = "complete"
    FAILED = "failed"
    SUSPENDED = "suspended"
    UNPLACED = "unplaced"
    """The nodes cannot take it, and no others will come."""
    STOPPED = "stopped"
    """Asked twice: nothing was waited for."""


class Session:
    """One ``haversack run``."""

    def __init__(self, cluster: LocalCluster, screen: Screen, hook: Hook | None = None) -> None:
        self._cluster = cluster
        self._screen = screen
        self._hook = hook
        self._told = 0
        self._said: set[str] = set()
        self._interrupts = 0

    async def run(self) -> Outcome:
        """Until the job is complete, failed or suspended. Leaves no process behind."""
        with self._interruptible():
            try:
                await self._cluster.start()
                return await self._passes()
            finally:
                await self._cluster.close(at_once=self._interrupts > 1)

    async def _passes(self) -> Outcome:
        while True:
            try:
                now = datetime.now(UTC)
                await reconcile.run(self._cluster.key, self._cluster, now, THIS_MACHINE)
            except ClusterError as error:
                self._screen.say([f"trying again: {error}"])
            job = await self._cluster.job()
            outcome = self._outcome(job) or await self._hopeless(job)
            if job is not None:
                await self._tell(job, outcome)
            if outcome is not None:
                return outcome
            if self._hook is not None and (word := await self._hook(self._cluster)):
                self._screen.say([word])
            await self._cluster.news(PASS_SECONDS)

    def _outcome(self, job: dict[str, Any] | None) -> Outcome | None:
        if self._interrupts > 1:
            return Outcome.STOPPED
        if job is None or is_true(job, names.Condition.COMPLETE):
            return Outcome.COMPLETE
        if is_true(job, names.Condition.FAILED):
            return Outcome.FAILED
        if job["spec"].get("suspend") and is_true(job, names.Condition.SUSPENDED):
            return Outcome.SUSPENDED
        return None

    async def _hopeless(self, job: dict[str, Any] | None) -> Outcome | None:
        """Nodes here never change by themselves, so a job without any pod and any place stays so."""
        if job is None or live.unplaced(job) is None or await self._cluster.pods():
            return None
        return Outcome.UNPLACED

    async def _tell(self, job: dict[str, Any], outcome: Outcome | None) -> None:
        """News, and the job as it is; of the last news only what is not said with the outcome."""
        events = await self._cluster.events()
        notes = [event["note"] for event in events[self._told :]]
        self._told = len(events)
        last = live.last_words(job) if outcome else frozenset()
        if outcome is Outcome.UNPLACED:
            notes = []
        fresh = list(live.news(notes, self._said | last))
        if fresh:
            self._screen.say(fresh)
        self._said |= {live.sentence(note) for note in fresh}
        if outcome is None:
            self._screen.show(job, self._cluster.progress, self._said)
        else:
            self._screen.close(job, self._cluster.progress)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._interrupt)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            self._screen.say(
                ["suspending: every peer saves its state; press Ctrl-C again to stop at once"]
            )
        self._cluster.suspend()
