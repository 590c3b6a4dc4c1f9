"""``haversack plan``: where a job's peers would go, with which micro-batch, and why. Needs no cluster."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from haversack_operator.api.choice import choose
from haversack_operator.api.estimate import Figures
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.job import JobSpec
from haversack_operator.api.names import NODE_ZONE
from haversack_operator.api.quantity import format_bytes
from haversack_operator.placement.assign import assign
from haversack_operator.placement.demand import Demand, demand_of
from haversack_operator.placement.plan import Infeasible, Objective, Plan
from haversack_operator.snapshot import Assignment, Node
from haversack_trainer.contract.choosing import AUTO

from . import advice, jobfile
from .costs import Advice, advise, tuning
from .figures import add_figures, figures_of
from .nodes import nodes_of
from .words import DONE, FAILED, InputError, columns, program

HEADER: Final = ("PEER", "POOL", "NODE", "ZONE", "PROCESSES", "MICRO-BATCH", "MEMORY", "STEP PEAK")
PROCESSES: Final = HEADER.index("PROCESSES")
UNKNOWN: Final = "-"


def main(arguments: Sequence[str]) -> int:
    """Print a plan; exit code 0 placed (or advised), 1 the gang cannot be placed (or no method will do), 2 bad input."""
    chosen = _parser().parse_args(arguments)
    spec = jobfile.read_spec(chosen.job)
    figures = figures_of(chosen, spec, measure=chosen.advise)
    if chosen.advise:
        found = advise(spec, figures)
        print(ADVICE[chosen.output](found))
        return FAILED if found.choice is None else DONE
    nodes = nodes_of(chosen.nodes)
    asked = _asked(chosen.job, spec, figures)
    answer = assign(asked.demand, nodes)
    print(FORMATS[chosen.output](asked, nodes, answer))
    return FAILED if isinstance(answer, Infeasible) else DONE


@dataclass(frozen=True, slots=True)
class Asked:
    """What is placed."""

    demand: Demand
    remarks: tuple[str, ...]
    """What is chosen by itself, now or in the run's first rounds, and why."""


def _asked(path: Path, spec: JobSpec, figures: Figures) -> Asked:
    remarks: list[str] = []
    if spec.method["type"] == AUTO:
        try:
            choice = choose(spec, figures)
        except InvalidSpec as error:
            raise InputError(f"{path}: {error}") from error
        spec, remarks = choice.spec, [choice.reason]
    return Asked(demand_of(spec), (*remarks, *tuning(spec, figures)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("plan"), description="Shows where a job's peers would go, and why."
    )
    parser.add_argument("job", type=Path, metavar="JOB.yaml", help="a FineTuneJob")
    parser.add_argument(
        "--nodes",
        type=Path,
        metavar="NODES.yaml",
        help="an inventory, or the output of 'kubectl get nodes -o yaml' "
        "(default: this machine as one node)",
    )
    parser.add_argument(
        "--output", "-o", choices=FORMATS, default="text", help="text, json or yaml (default: text)"
    )
    parser.add_argument(
        "--advise",
        action="store_true",
        help="show what each method would cost here, and which one to take, instead of places",
    )
    add_figures(parser)
    return parser


def _rows(demand: Demand, nodes: Sequence[Node], plan: Plan) -> Iterator[dict[str, Any]]:
    kinds = {kind.pool: kind for kind in demand.kinds}
    zones = {node.name: node.labels.get(NODE_ZONE, "") for node in nodes}
    for one in plan.assignments:
        yield {
            "peer": one.peer,
            "pool": one.pool,
            "node": one.node,
            "zone": zones[one.node],
            "microBatchSize": one.micro_batch_size,
            "processes": kinds[one.pool].processes,
            "memoryBytes": kinds[one.pool].memory_bytes,
            "stepPeakBytes": _peak(demand, one),
        }


def _peak(demand: Demand, one: Assignment) -> int | None:
    """Bytes at the peak of a step; None when the manifest does not tell the model's size."""
    candidates = next(kind.candidates for kind in demand.kinds if kind.pool == one.pool)
    peaks = {each.micro_batch_size: each.peak_bytes for each in candidates}
    return peaks[one.micro_batch_size] or None


def _values(asked: Asked, nodes: Sequence[Node], answer: Plan | Infeasible) -> dict[str, Any]:
    """The answer as plain values, in the manner of the API."""
    if isinstance(answer, Infeasible):
        return {
            "feasible": False,
            "why": answer.why,
            "proven": answer.proven,
            "reasons": list(answer.reasons),
            "remarks": list(asked.remarks),
        }
    return {
        "feasible": True,
        "gapPercent": answer.gap_percent,
        "solver": answer.solver,
        "objectives": [
            {
                "name": level.name.value,
                "value": level.value,
                "bound": level.bound,
                "gapPercent": str(level.gap_percent),
            }
            for level in answer.levels
        ],
        "peers": list(_rows(asked.demand, nodes, answer)),
        "reasons": list(answer.reasons),
        "remarks": list(asked.remarks),
    }


def _json(asked: Asked, nodes: Sequence[Node], answer: Plan | Infeasible) -> str:
    return _as_json(_values(asked, nodes, answer))


def _yaml(asked: Asked, nodes: Sequence[Node], answer: Plan | Infeasible) -> str:
    return _as_yaml(_values(asked, nodes, answer))


def _as_json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2)


def _as_yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False).rstrip()


def _text(asked: Asked, nodes: Sequence[Node], answer: Plan | Infeasible) -> str:
    if isinstance(answer, Infeasible):
        reasons = (f"  {one}" for one in answer.reasons)
        return "\n".join((f"no plan: {answer.why}", *reasons, *asked.remarks))
    demand = asked.demand
    table: list[tuple[str, ...]] = [HEADER, *(_cells(row) for row in _rows(demand, nodes, answer))]
    if all(kind.processes == 1 for kind in demand.kinds):
        table = [row[:PROCESSES] + row[PROCESSES + 1 :] for row in table]
    said = (_verdict(demand, answer), *answer.reasons)
    return "\n".join((*columns(table), "", *said, *asked.remarks))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    peak = row["stepPeakBytes"]
    return (
        str(row["peer"]),
        row["pool"],
        row["node"],
        row["zone"] or UNKNOWN,
        str(row["processes"]),
        str(row["microBatchSize"]),
        format_bytes(row["memoryBytes"]),
        format_bytes(peak) if peak else UNKNOWN,
    )


def _verdict(demand: Demand, plan: Plan) -> str:
    wanted = sum(kind.replicas for kind in demand.kinds)
    level = plan.open_level
    proof = "proven optimal" if level is None else f"gap {level.gap_percent} % in {level.name}"
    rest = ", ".join(_words(one.name, one.value) for one in plan.levels[1:])
    peers = "peer" if wanted == 1 else "peers"
    return f"{len(plan.assignments)} of {wanted} {peers} placed, {proof} ({plan.solver})\n{rest}"


def _words(name: Objective, value: int) -> str:
    """An objective's value as a person reads it."""
    match name:
        case Objective.STRANDED:
            return f"stranded memory {format_bytes(value * 2**20)}"
        case Objective.COST:
            return f"cost {value / 10_000:.2f} an hour"
        case _:
            return f"{name} {value}"


FORMATS: Final[dict[str, Callable[[Asked, Sequence[Node], Plan | Infeasible], str]]] = {
    "text": _text,
    "json": _json,
    "yaml": _yaml,
}
ADVICE: Final[dict[str, Callable[[Advice], str]]] = {
    "text": advice.text,
    "json": lambda found: _as_json(advice.values(found)),
    "yaml": lambda found: _as_yaml(advice.values(found)),
}
