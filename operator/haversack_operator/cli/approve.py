"""``haversack approve``: a person lets an adapter that passed its gate be published."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Sequence

from haversack_operator.api import names
from haversack_operator.cluster.local_state import StateFile, finished

from . import found
from .words import DONE, InputError, program


def main(arguments: Sequence[str]) -> int:
    """Approve; exit code 0 done, 2 nothing to approve."""
    parser = argparse.ArgumentParser(prog=program("approve"), description=__doc__)
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
    if where.local() is not None:
        StateFile(where.folder).approve(who)
    else:
        note = f"{names.ANNOTATION_APPROVED_BY}={who}"
        where.kubectl("annotate", "--overwrite", found.RESOURCE, where.name, note)
    print(f"{where.name}: approved by {who}")
    return DONE
