"""``haversack approve``: a person lets an adapter that passed its gate be published."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.cluster.local_state import StateFile, finished

from . import found, live
from .words import DONE, FAILED, InputError, program

ABOUT: Final = "Lets an adapter that passed its gate be published."


def main(arguments: Sequence[str]) -> int:
    """Approve; exit code 0 done, 1 nothing to approve yet, 2 nothing to approve."""
    parser = argparse.ArgumentParser(prog=program("approve"), description=ABOUT)
    parser.add_argument("--by", metavar="NAME", help="who approves (default: you)")
    where, chosen = found.parse(parser, arguments)
    who = (chosen.by or getpass.getuser()).strip()
    job = where.job()
    gate = job["spec"].get("evaluation", {}).get("gate", {})
    if gate.get("approval") != "Manual":
        raise InputError(
            f"{where.name} publishes by itself: spec.evaluation.gate.approval is not Manual"
        )
    if finished(job):
        raise InputError(f"{where.name} is over; there is nothing left to approve")
    if (why := _too_early(job)) is not None:
        print(f"{program('approve')}: {where.name} {why}", file=sys.stderr)
        return FAILED
    if where.local() is not None:
        StateFile(where.folder).approve(who)
    else:
        note = f"{names.ANNOTATION_APPROVED_BY}={who}"
        where.kubectl("annotate", "--overwrite", found.RESOURCE, where.name, note)
    print("\n".join((f"{where.name}: approved by {who}", *live.ending(job))))
    return DONE


def _too_early(job: Mapping[str, Any]) -> str | None:
    """Why there is no verdict that a person could approve; None if one waits for it."""
    conditions = job.get("status", {}).get("conditions", ())
    gate = next((each for each in conditions if each["type"] == names.Condition.GATE_PASSED), None)
    if gate is None:
        return "does not wait for approval: it has no condition GatePassed yet; wait for its end"
    if gate["reason"] == "AwaitingApproval":
        return None
    return (
        f"does not wait for approval: its condition GatePassed is {gate['status']} "
        f"({gate['reason']}: {gate['message']})"
    )
