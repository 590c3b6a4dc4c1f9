"""What the operator tells of itself: instruments, and the pages that show them.

Labels are bounded: never the name of a job, a peer or a node.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from haversack_operator.cluster.base import Actions

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Check = Callable[[], str | None]
"""None when all is well, else a sentence."""


class Metrics:
    """The Prometheus instruments."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._passes = Counter("haversack_passes", "Passes over jobs.", registry=self.registry)
        self._errors = Counter(
            "haversack_pass_errors", "Passes that are tried again.", registry=self.registry
        )
        self._seconds = Histogram(
            "haversack_pass_seconds", "Time of a pass.", buckets=BUCKETS, registry=self.registry
        )
        self._actions = Counter(
            "haversack_actions", "What passes wanted done.", ["action"], registry=self.registry
        )
        self._events = Counter(
            "haversack_job_events", "Events about jobs.", ["reason"], registry=self.registry
        )
        self.queued = Gauge(
            "haversack_queued_jobs", "Jobs with a pass due.", registry=self.registry
        )
        self.lag_seconds = Gauge(
            "haversack_loop_lag_seconds", "Lateness of the event loop.", registry=self.registry
        )

    def record(self, actions: Actions, seconds: float) -> None:
        """A pass went through."""
        self._passes.inc()
        self._seconds.observe(seconds)
        self._actions.labels("apply").inc(len(actions.apply))
        self._actions.labels("delete").inc(len(actions.delete))
        self._actions.labels("status").inc(actions.status is not None)
        for event in actions.events:
            self._events.labels(event.reason).inc()

    def record_error(self) -> None:
        """A pass failed."""
        self._errors.inc()


@asynccontextmanager
async def pages(metrics: Metrics, port: int, alive: Check, ready: Check) -> AsyncIterator[None]:
    """``/metrics``, ``/healthz`` and ``/readyz`` on ``port``, for as long as the context lasts."""

    async def show(request: web.Request) -> web.Response:
        del request
        page = generate_latest(metrics.registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", show)
    app.router.add_get("/healthz", _answer(alive))
    app.router.add_get("/readyz", _answer(ready))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()


def _answer(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        del request
        wrong = check()
        return web.Response(text=wrong or "ok", status=200 if wrong is None else 503)

    return answer
