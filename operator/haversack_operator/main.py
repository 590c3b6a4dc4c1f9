"""``haversack-operator``: the composition root."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import kopf

from haversack_operator.api import names
from haversack_operator.cluster.base import ClusterError, Key
from haversack_operator.cluster.hubclient import HubClient
from haversack_operator.cluster.kube import KubeCluster
from haversack_operator.cluster.kube_client import KubeClient
from haversack_operator.cluster.kube_login import login
from haversack_operator.cluster.kube_view import ClusterView
from haversack_operator.handlers import Desk, registry_of, settings_for_events_only
from haversack_operator.metrics import Metrics, pages
from haversack_operator.queue import Worker
from haversack_operator.reconcile import run
from haversack_operator.resources import PodSettings

log = logging.getLogger("haversack")

REFRESH_SECONDS: Final = 300.0
PULSE_SECONDS: Final = 1.0
STUCK_SECONDS: Final = 30.0
PREFIX: Final = "HAVERSACK_OPERATOR_"
DEFAULT_IMAGE: Final = "ghcr.io/haversack/trainer:0.1.0"


@dataclass(frozen=True, slots=True)
class Options:
    """What the administrator decides."""

    namespaces: tuple[str, ...]
    """Empty: the whole cluster."""
    trainer_image: str
    metrics_port: int
    max_concurrent: int
    resync_seconds: float
    log_level: str


def parse_options(arguments: Sequence[str]) -> Options:
    """Flags, or ``HAVERSACK_OPERATOR_<FLAG>`` in the environment; flags win."""
    parser = argparse.ArgumentParser(
        prog="haversack-operator",
        description="Places the peers of FineTuneJobs and keeps them as wanted.",
        epilog=f"Every flag may be given in the environment, like {PREFIX}METRICS_PORT=8080.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--namespaces", help="comma-separated; empty for the whole cluster")
    parser.add_argument("--trainer-image", help="image of peers and hubs")
    parser.add_argument("--metrics-port", type=int, help="of /metrics, /healthz and /readyz")
    parser.add_argument("--max-concurrent", type=int, help="jobs looked at side by side")
    parser.add_argument("--resync-seconds", type=float, help="most time between looks at a job")
    parser.add_argument("--log-level", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    defaults = {
        "namespaces": "",
        "trainer_image": DEFAULT_IMAGE,
        "metrics_port": "8080",
        "max_concurrent": "8",
        "resync_seconds": "600",
        "log_level": "INFO",
    }
    told = {name: os.environ.get(PREFIX + name.upper(), value) for name, value in defaults.items()}
    parser.set_defaults(**told)
    found = vars(parser.parse_args(arguments))
    namespaces = (name.strip() for name in found.pop("namespaces").split(","))
    return Options(namespaces=tuple(name for name in namespaces if name), **found)


class Operator:
    """All parts, put together."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._metrics = Metrics()
        self._view = ClusterView()
        self._client = KubeClient(login)
        self._hub = HubClient()
        self._cluster = KubeCluster(self._client, self._view, self._hub)
        self._settings = PodSettings(options.trainer_image)
        self._restless: set[Key] = set()
        self._watching = asyncio.Event()
        self._beat = time.monotonic()
        self._worker = Worker(
            self._look,
            clock=time.monotonic,
            max_concurrent=options.max_concurrent,
            resync_seconds=options.resync_seconds,
            expected=ClusterError,
        )

    async def serve(self) -> None:
        """Work until SIGTERM or SIGINT. Raises ``ClusterError`` if the cluster cannot be read."""
        desk = Desk(self._view, self._worker.add, lambda: tuple(self._restless))
        stop = asyncio.Event()
        try:
            if not await self._client.serves(names.JOB_KIND):
                raise ClusterError("the cluster does not know FineTuneJobs; apply crds/ first")
            await self._view.refresh(self._client, self._options.namespaces or (None,))
            async with (
                pages(self._metrics, self._options.metrics_port, self._alive, self._ready),
                _in_background(stop, self._worker.run(), self._refresh(), self._measure()),
            ):
                await kopf.operator(
                    registry=registry_of(desk, login),
                    settings=settings_for_events_only(),
                    clusterwide=not self._options.namespaces,
                    namespaces=self._options.namespaces,
                    stop_flag=stop,
                    ready_flag=self._watching,
                )
        finally:
            await self._client.close()
            await self._hub.close()

    async def _look(self, key: Key) -> float | None:
        started = time.monotonic()
        try:
            outcome = await run(key, self._cluster, datetime.now(UTC), self._settings)
        except Exception:
            # Tried again, whether the world or the operator is at fault.
            self._metrics.record_error()
            raise
        self._metrics.record(outcome.actions, time.monotonic() - started)
        (self._restless.discard if outcome.due_seconds is None else self._restless.add)(key)
        return math.inf if outcome.gone else outcome.due_seconds

    async def _refresh(self) -> None:
        """A watch that was cut never tells what vanished meanwhile: list anew now and then."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self._view.refresh(self._client, self._options.namespaces or (None,))
            except ClusterError as error:
                log.warning("nodes and pods could not be listed: %s", error)

    async def _measure(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(PULSE_SECONDS)
            self._metrics.lag_seconds.set(time.monotonic() - self._beat - PULSE_SECONDS)
            self._metrics.queued.set(len(self._worker.queue))

    def _alive(self) -> str | None:
        late = time.monotonic() - self._beat
        return f"the event loop is {late:.0f} s late" if late > STUCK_SECONDS else None

    def _ready(self) -> str | None:
        return None if self._watching.is_set() else "not watching yet"


@contextlib.asynccontextmanager
async def _in_background(
    stop: asyncio.Event, *works: Coroutine[Any, Any, None]
) -> AsyncIterator[None]:
    """Run ``works`` beside the body; if one of them ends, ``stop`` is set and its error raised."""
    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """``asyncio.run``, but what kopf's watches say as they are closed is for debugging only.

    kopf leaves them open, one generator inside another; the loop closes all at once, and an outer one
    that finds its inner one closed before it complains.
    """

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "asyncgen" in context:
            log.debug("%s: %r", context["message"], context.get("exception"))
        else:
            loop.default_exception_handler(context)

    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(tell)
        runner.run(work)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's entry point."""
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if options.log_level != "DEBUG":
        # It has a line for each event.
        logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    try:
        run_to_end(Operator(options).serve())
    except ClusterError as error:
        log.error("haversack-operator stops: %s", error)  # noqa: TRY400 - one sentence, no traceback
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
