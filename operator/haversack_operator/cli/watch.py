"""``haversack watch``: a job's live view, from a cluster or from this machine's state."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.cluster.local_lock import runner
from haversack_operator.cluster.local_state import finished, is_true
from haversack_trainer.contract.report import PeerReport, PeerState, RunProgress

from . import found, live
from .screen import Screen
from .words import DONE, FAILED, INTERRUPTED, program

ABOUT: Final = "Follows a job's peers, round, loss, bytes and time left, here or in a cluster."
LOOK_SECONDS: Final = 2.0
PLANS: Final = f"{names.PLAN_PLURAL}.{names.GROUP}"


def main(arguments: Sequence[str]) -> int:
    """Follow a job until it is over; exit code 0 complete, 1 failed, 130 not running or Ctrl-C."""
    parser = argparse.ArgumentParser(prog=program("watch"), description=ABOUT)
    parser.add_argument("--once", action="store_true", help="show it once and leave")
    where, chosen = found.parse(parser, arguments)
    screen = Screen(sys.stdout)
    try:
        while True:
            job = where.job()
            code = _look(where, job, screen)
            if code is not None or chosen.once:
                return code or DONE
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        return INTERRUPTED


def _look(where: found.Where, job: Mapping[str, Any], screen: Screen) -> int | None:
    """Show it as it is now; the exit code if nothing more will come."""
    if finished(job):
        screen.close(job, _progress(where, job))
        state = live.state(job, live.said_by_ending(job))
        screen.say([f"{where.name}: {state}", *live.ending(job)])
        return FAILED if is_true(job, names.Condition.FAILED) else DONE
    if where.local() is not None and runner(where.folder) is None:
        screen.say(live.at_rest(job))
        return INTERRUPTED
    screen.show(job, _progress(where, job))
    return None


def _progress(where: found.Where, job: Mapping[str, Any]) -> RunProgress | None:
    """The peers' rows, which are kept in the job's newest plan."""
    name = job.get("status", {}).get("placement", {}).get("planName")
    if name is None:
        return None
    saved = where.saved()
    if saved is None:
        plan: Mapping[str, Any] | None = where.kubectl_json("get", PLANS, name)
    else:
        plan = next((each for each in saved.plans if each["metadata"]["name"] == name), None)
    if plan is None:
        return None
    nodes = {row["peer"]: row["node"] for row in plan["spec"]["peers"]}
    reports = [_report(row, nodes) for row in plan.get("status", {}).get("peers", ())]
    view = tuple(report.peer for report in reports)
    return RunProgress(run="", view=view, peers=tuple(reports))


def _report(row: Mapping[str, Any], nodes: Mapping[int, str]) -> PeerReport:
    return PeerReport(
        peer=row["peer"],
        node=nodes.get(row["peer"], ""),
        state=PeerState(row["state"]),
        round=row["round"],
        loss=float(row["loss"]) if "loss" in row else None,
        bytes_sent=row["bytesSent"],
    )
