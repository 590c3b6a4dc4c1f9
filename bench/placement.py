"""Time and gap of placement on mixed fleets, abundant and scarce: ``python -m bench.placement``.

A fleet has 8-GPU, 4-GPU, 2-GPU and 1-GPU nodes, Jetsons and CPU nodes over five zones, partly in
use; a job has six kinds of peers. *Abundant*: as many peers as asked for fit. *Scarce*: the job asks
for about twice the free devices. *Alike*: free amounts come in quarters, so that nodes form classes;
*distinct*: no two nodes are alike.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.figures import spread, write

from haversack_operator.api.memory import Candidate
from haversack_operator.placement import greedy
from haversack_operator.placement.assign import assign
from haversack_operator.placement.demand import Demand, DeviceAsk, PeerKind
from haversack_operator.placement.milp import Limits
from haversack_operator.placement.plan import Plan
from haversack_operator.placement.problem import build
from haversack_operator.snapshot import Amounts, Node

GIB: Final = 2**30
GPU: Final = "nvidia.com/gpu"
SEEDS: Final = range(5)
PATIENT: Final = Limits(seconds=60.0)
"""On a busy machine it is the nodes that shall count, not the time."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of node."""

    name: str
    devices: int
    device_memory: int
    cpus: int
    memory: int
    cost: str
    arch: str = "amd64"


MACHINES: Final = (
    Machine("h200", 8, 141, 192, 2000, "40"),
    Machine("a100", 4, 80, 96, 1000, "16"),
    Machine("l40s", 2, 48, 64, 512, "5"),
    Machine("l4", 1, 24, 16, 64, "1"),
    Machine("orin", 1, 0, 12, 32, "0.2", "arm64"),
    Machine("cpu", 0, 0, 64, 256, "0.8"),
)
KINDS: Final = (
    # name, share of the peers, CPUs, memory, devices of that memory, architecture
    ("large", 4, 4, 32, (1, 70), "amd64"),
    ("middle", 4, 4, 32, (1, 40), "amd64"),
    ("small", 2, 2, 16, (1, 20), "amd64"),
    ("quad", 1, 16, 128, (4, 40), "amd64"),
    ("edge", 2, 2, 16, (1, 10), "arm64"),
    ("cpu", 3, 8, 48, None, None),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A size of the problem."""

    peers: int
    nodes: int
    scarce: bool = False
    distinct: bool = False

    @property
    def name(self) -> str:
        supply = "scarce" if self.scarce else "abundant"
        return f"{self.peers} x {self.nodes}, {supply}, {'distinct' if self.distinct else 'alike'}"


CASES: Final = (
    Case(64, 200),
    Case(64, 200, scarce=True),
    Case(64, 200, scarce=True, distinct=True),
    Case(1000, 2000),
    Case(1000, 2000, scarce=True),
    Case(1000, 2000, scarce=True, distinct=True),
)


def fleet(case: Case, seed: int) -> list[Node]:
    """Nodes with part of them in use; where devices are scarce, most of them."""
    dice = random.Random(seed)
    return [_node(dice, dice.choice(MACHINES), number, case) for number in range(case.nodes)]


def _node(dice: random.Random, kind: Machine, number: int, case: Case) -> Node:
    share = dice.random() * 0.9 if case.distinct else dice.choice((0, 0.25, 0.5, 0.75))
    free = kind.devices and (
        int(dice.random() < case.peers / case.nodes / 3)
        if case.scarce
        else dice.randint(0, kind.devices)
    )
    labels = {
        "kubernetes.io/arch": kind.arch,
        "topology.kubernetes.io/zone": f"zone-{dice.randrange(5)}",
        "haversack.dev/cost-per-hour": kind.cost,
    }
    if kind.device_memory:
        labels["haversack.dev/accelerator-memory"] = f"{kind.device_memory}G"
    elif kind.devices:
        labels["haversack.dev/unified-memory"] = "true"
    devices = {GPU: kind.devices} if kind.devices else {}
    used = Amounts(
        int(kind.cpus * 1000 * share), int(kind.memory * GIB * share), {GPU: kind.devices - free}
    )
    return Node(
        f"{kind.name}-{number}",
        labels,
        Amounts(kind.cpus * 1000, kind.memory * GIB, devices),
        used=used,
    )


def job(case: Case) -> Demand:
    """Six pools, with micro-batches from 32 down to 1; peers on a ring."""
    sizes = tuple(Candidate(2**k, (4 + 2 * 2**k) * GIB) for k in range(5, -1, -1))
    total = sum(share for _, share, *_ in KINDS)
    kinds: list[PeerKind] = []
    for name, share, cpus, memory, devices, arch in KINDS:
        kinds.append(
            PeerKind(
                pool=name,
                first_peer=kinds[-1].peers.stop if kinds else 0,
                replicas=round(case.peers * share / total),
                min=0,
                cpu_millis=cpus * 1000,
                memory_bytes=memory * GIB,
                candidates=sizes,
                devices=devices and DeviceAsk(GPU, devices[0], devices[1] * GIB),
                architecture=arch,
            )
        )
    return Demand(tuple(kinds), min_peers=1, ring=True)


def measure(case: Case, seed: int) -> dict[str, Any]:
    """CPU seconds and result of best-fit alone, and of the whole of ``assign``."""
    nodes, demand = fleet(case, seed), job(case)
    started = time.process_time()
    problem = build(demand, nodes, ())
    score = greedy.score(problem, greedy.solve(problem))
    best_fit_seconds = time.process_time() - started
    started = time.process_time()
    plan = assign(demand, nodes, limits=PATIENT)
    seconds = time.process_time() - started
    if not isinstance(plan, Plan):
        raise SystemExit(f"{case.name}, seed {seed}: no plan: {plan.why}")
    return {
        "seed": seed,
        "best_fit_cpu_seconds": round(best_fit_seconds, 3),
        "best_fit": score._asdict(),
        "cpu_seconds": round(seconds, 3),
        "solver": plan.solver,
        "gap_percent": plan.gap_percent,
        "objectives": {
            level.name: [level.value, level.bound, str(level.gap_percent)] for level in plan.levels
        },
    }


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over the seeds."""
    return {
        "best_fit_cpu_seconds": spread([run["best_fit_cpu_seconds"] for run in runs]),
        "cpu_seconds": spread([run["cpu_seconds"] for run in runs]),
        "worst_gap_percent": max(float(run["gap_percent"]) for run in runs),
        "runs": runs,
    }


def main() -> None:
    """All cases."""
    figures = {}
    for case in CASES:
        runs = [measure(case, seed) for seed in SEEDS]
        figures[case.name] = summary(runs)
        times = figures[case.name]["cpu_seconds"]
        print(f"{case.name}: {times} CPU-s, gap <= {figures[case.name]['worst_gap_percent']} %")
    print(write("placement", figures))


if __name__ == "__main__":
    main()
