"""``haversack run``: a job on this machine, by the operator's own code."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from haversack_operator.cluster.local import LocalCluster
from haversack_operator.cluster.local_lock import AlreadyRunning, running
from haversack_operator.cluster.local_state import StateError, StateFile, admit

from . import jobfile, live, report
from .nodes import nodes_of
from .screen import Screen
from .session import Hook, Outcome, Session
from .words import DONE, FAILED, INTERRUPTED, STATE_DIR, InputError, program, state_option

ABOUT: Final = "Trains a job on this machine, by the operator's own code."
EXIT_CODES: Final = {
    Outcome.COMPLETE: DONE,
    Outcome.FAILED: FAILED,
    Outcome.UNPLACED: FAILED,
    Outcome.SUSPENDED: INTERRUPTED,
    Outcome.STOPPED: INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    job: Path
    nodes: Path | None
    state_dir: Path

    def command(self) -> str:
        """What a person types for it."""
        nodes = f" --nodes {shlex.quote(str(self.nodes))}" if self.nodes else ""
        return f"{program('run')} {shlex.quote(str(self.job))}{nodes}{self.where()}"

    def where(self) -> str:
        """The option with which the other commands find the job."""
        return state_option(self.state_dir)


def main(arguments: Sequence[str]) -> int:
    """Run a job; exit code 0 done, 1 failed, 2 bad input, 130 suspended."""
    parser = argparse.ArgumentParser(prog=program("run"), description=ABOUT)
    parser.add_argument("job", type=Path, metavar="JOB.yaml", help="a FineTuneJob")
    parser.add_argument(
        "--nodes",
        type=Path,
        metavar="NODES.yaml",
        help="inventory of nodes, all played by this machine (default: this machine as one node)",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=STATE_DIR,
        metavar="DIR",
        help="where logs and what is needed to resume are kept (default: %(default)s)",
    )
    chosen = parser.parse_args(arguments)
    return run(Request(chosen.job, chosen.nodes, chosen.state_dir))


def run(request: Request, hook: Hook | None = None) -> int:
    """Train to the end and tell what came of it. ``hook`` is called after every pass."""
    name, outcome = asyncio.run(_train(request, hook))
    folder = request.state_dir / name
    saved = StateFile(folder).read()
    if saved is not None:
        print("\n".join(summary(saved.job, outcome, request, folder)))
    return EXIT_CODES[outcome]


async def _train(request: Request, hook: Hook | None) -> tuple[str, Outcome]:
    given = jobfile.read(request.job, request.state_dir)
    nodes = nodes_of(request.nodes)
    name = given.job["metadata"]["name"]
    folder = (request.state_dir / name).resolve()
    try:
        with running(folder):
            saved = admit(given.job, StateFile(folder).read(), datetime.now(UTC))
            cluster = LocalCluster(saved, given.secrets, nodes, folder, _environment(os.environ))
            return name, await Session(cluster, Screen(sys.stdout), hook).run()
    except AlreadyRunning as error:
        watch = f"{program('watch')} {name}{request.where()}"
        raise InputError(
            f"{name} is already running here (pid {error.pid}); watch it with: {watch}"
        ) from error
    except StateError as error:
        raise InputError(str(error)) from error


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """This machine's, as its pods inherit it: proxies, tokens of hubs, caches."""
    return {name: value for name, value in own.items() if not name.startswith("HAVERSACK_")}


def summary(
    job: Mapping[str, Any], outcome: Outcome, request: Request, folder: Path
) -> Iterator[str]:
    """What came of a run, with the commands that go on from there."""
    if outcome is Outcome.UNPLACED:
        yield f"{folder.name}: no place: {live.unplaced(job)}"
        yield "change    the job's pools, or give other nodes with --nodes; none will come by themselves"
        return
    yield f"{folder.name}: {live.state(job, live.said_by_ending(job))}"
    yield from live.ending(job)
    if outcome is Outcome.FAILED:
        yield f"logs      {folder / 'pods'}/*/log.txt"
    if outcome in {Outcome.SUSPENDED, Outcome.STOPPED}:
        yield f"resume    {request.command()}"
    elif report.is_there(job):
        yield f"report    {program('report')} {folder.name}{request.where()}"
