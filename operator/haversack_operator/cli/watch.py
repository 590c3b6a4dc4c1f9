"""``haversack watch``: a job's live view, from a cluster or from this machine's state."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.cluster.local_state import finished, is_true
from haversack_trainer.contract.report import PeerReport, PeerState, RunProgress

from . import found, live
from .screen import Screen
from .words import DONE, FAILED, INTERRUPTED, program

LOOK_SECONDS: Final = 2.0
PLANS: Final = f"{names.PLAN_PLURAL}.{names.GROUP}"


def main(arguments: Sequence[str]) -> int:
    """Follow a job until it is over; exit code 0 complete, 1 failed, 130 left by Ctrl-C."""
    parser = argparse.ArgumentParser(prog=program("watch"), description=__doc__)
    parser.add_argument("--once", action="store_true", help="show it once and leave")
    where, chosen = found.parse(parser, arguments)
    screen = Screen(sys.stdout)
    try:
        while True:
            job = where.job()
            screen.show(job, _progress(where, job))
            if chosen.once or finished(job):
                break
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        return INTERRUPTED
    if finished(job):
        screen.say(live.ending(job))
    return FAILED if is_true(job, names.Condition.FAILED) else DONE


def _progress(where: found.Where, job: Mapping[str, Any]) -> RunProgress | None:
    """The peers' rows, which a cluster keeps in the job's newest plan."""
    plan = job.get("status", {}).get("placement", {}).get("planName")
    if plan is None or where.local() is not None:
        return None
    rows = where.kubectl_json("get", PLANS, plan)
    nodes = {row["peer"]: row["node"] for row in rows["spec"]["peers"]}
    reports = [_report(row, nodes) for row in rows.get("status", {}).get("peers", ())]
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
