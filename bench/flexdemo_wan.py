"""Time to equal loss over a thin line: what is exchanged against how long it takes (the run that C2 of the design asks for).

Two nodes train a small language model, all of its weights, each on text of its own. Held-out loss against steps
does not depend on the line (every scheme waits for its round), so it is measured once per scheme, for one or two learning
rates, of which the best final loss counts; all are kept in ``--state``, which a later call goes on from. Seconds a step are measured over the real hub with mutual
TLS, behind an emulated line per node. Time to a loss is their product. Schemes that send everything send equally much, so the
exchange of full-sync AdamW stands for theirs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from bench.figures import spread, write
from bench.hub_client import HUB_NAME, IDENTITY, RUN, hub_process, pairs
from bench.small_lm import SEED, Batches, Sequences, SmallLm, streams
from bench.wan import Link, relays

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.membership import Join, Start
from haversack_trainer.contract.records import Kind
from haversack_trainer.exchange.base import Exchange
from haversack_trainer.exchange.http import HttpExchange
from haversack_trainer.exchange.memory import MemoryExchange, MemoryLog
from haversack_trainer.method import Method

NUM_NODES: Final = 2
STEPS: Final = 200
SYNC_EVERY: Final = 20
BATCH_SIZE: Final = 8
MEGABITS: Final = (10.0, 100.0, 1000.0)
ONE_WAY_MS: Final = 10.0
EVALUATE_EVERY: Final = 20
TARGET_SHARE: Final = 0.8
"""The loss to come to is the one that full-sync AdamW has after this share of its steps."""
REFERENCE: Final = "full-sync AdamW"
SCHEMES: Final[Mapping[str, Mapping[str, Any]]] = {
    REFERENCE: {"scheme": "Full", "update": "AdamW"},
    "full-sync sign-momentum": {"scheme": "Random", "rate": "1", "alpha": "0", "beta": "0.9"},
    "DeMo 4/64": {"scheme": "DeMo", "chunk": 64, "topK": 4, "beta": "0.99"},
    "DeMo 4/64, delay 1": {"scheme": "DeMo", "chunk": 64, "topK": 4, "beta": "0.99", "delay": 1},
    "Random 1/16": {"scheme": "Random", "rate": "0.0625", "beta": "0.99"},
    "Striding 1/16": {"scheme": "Striding", "rate": "0.0625", "beta": "0.99"},
    "DiLoCo": {"scheme": "DiLoCo", "syncEvery": SYNC_EVERY},
}
SEND_EVERYTHING: Final = {REFERENCE: 1, "full-sync sign-momentum": 1, "DiLoCo": SYNC_EVERY}
"""Once in so many steps."""
MEASURED: Final = 3
LEARNING_RATE: Final = "0.001"
HIGHER: Final = "0.003"  # tried by the reference, and by what moves few weights a step or seldom
TRIED_HIGHER: Final = (REFERENCE, "Random 1/16", "Striding 1/16", "DiLoCo")


def never() -> bool:
    return False


@dataclass
class Node:
    """One peer's rounds, as the loop makes them, without what surrounds them."""

    exchange: Exchange
    method: Method
    model: SmallLm
    num_rounds: int
    held_out: Sequences
    evaluate_every: int = 0
    """In rounds; 0 for never."""
    seconds: list[float] = field(default_factory=list)
    local_seconds: list[float] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    most_seconds: float = float("inf")

    def run(self) -> None:
        me = self.exchange.me
        self.exchange.join(Join(identity=IDENTITY, incarnation=f"i{me}"))
        self.exchange.wait_for(lambda state: len(state.view) == NUM_NODES, never)
        if me == 0:
            self.exchange.append(Kind.START, 0, Start().model_dump_json(by_alias=True).encode())
        self.exchange.wait_for(lambda state: state.start is not None, never)
        for number in range(self.num_rounds):
            self._round(number)

    def _round(self, number: int) -> None:
        begin = time.perf_counter()
        self.method.local_step(number)
        outgoing = self.method.outgoing()
        self._synchronise()
        self.local_seconds.append(time.perf_counter() - begin)
        self.exchange.publish(number, outgoing, never)
        if number + 1 < self.num_rounds:
            self.method.ahead(number + 1)
        self.method.incoming(self.exchange.collect(number, never))
        self._synchronise()
        self.seconds.append(time.perf_counter() - begin)
        if self.evaluate_every and (number + 1) % self.evaluate_every == 0:
            self.losses.append((number + 1, self._evaluate()))

    def _synchronise(self) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()

    @torch.no_grad()
    def _evaluate(self) -> float:
        self.model.train(mode=False)
        loss = float(self.model.loss(self.held_out))
        self.model.train(mode=True)
        return loss


Connect = Callable[[int], Exchange]


@cache
def _data() -> tuple[Sequences, list[torch.Tensor]]:
    held_out, parts = streams(NUM_NODES)
    return Sequences(held_out), parts


def nodes_of(
    settings: Mapping[str, Any], connect: Connect, device: torch.device, num_rounds: int
) -> list[Node]:
    card = METHODS["FlexDeMo"]
    chosen = card.load_settings().model_validate({"checksumEvery": 10, **settings})
    held_out, parts = _data()
    nodes = []
    for peer in range(NUM_NODES):
        model = SmallLm(device)
        batches = Batches(parts[peer], peer, BATCH_SIZE)
        method = card.load_factory()(chosen, peer, SEED, model, batches)
        nodes.append(Node(connect(peer), method, model, num_rounds, held_out))
    return nodes


def run(nodes: Sequence[Node]) -> None:
    """All nodes to their ends; raises what any of them raised."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        for done in [pool.submit(node.run) for node in nodes]:
            done.result()


def steps_a_round(settings: Mapping[str, Any]) -> int:
    return SYNC_EVERY if settings["scheme"] == "DiLoCo" else 1


def curve(settings: Mapping[str, Any], device: torch.device, steps: int) -> dict[str, Any]:
    """Held-out loss against steps, and bytes a node published per step."""
    inner, log = steps_a_round(settings), MemoryLog(RUN)
    nodes = nodes_of(settings, lambda peer: MemoryExchange(log, peer), device, steps // inner)
    for node in nodes[:1]:
        node.evaluate_every = max(1, EVALUATE_EVERY // inner)
    run(nodes)
    states = [node.model.trainable_state() for node in nodes]
    equal = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    return {
        "learning_rate": settings["learningRate"],
        "replicas_equal": equal,
        "losses": [[done * inner, round(loss, 4)] for done, loss in nodes[0].losses],
        "bytes_sent_a_step": round(nodes[0].exchange.bytes_sent / steps),
    }


@contextmanager
def over(link: Link) -> Iterator[Connect]:
    """The real hub, each node behind a line of its own."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        root = Path(name)
        pairs(root, NUM_NODES)
        hub = stack.enter_context(hub_process(root))
        lines = stack.enter_context(relays(link, hub.port, NUM_NODES))

        def exchange(peer: int) -> Exchange:
            address, mine = f"https://127.0.0.1:{lines[peer].port}", root / f"peer-{peer}"
            made = HttpExchange(address, hub_name=HUB_NAME, tls_dir=mine, run=RUN, me=peer)
            stack.callback(made.close)
            return made

        yield exchange


def timing(settings: Mapping[str, Any], link: Link, device: torch.device) -> dict[str, Any]:
    """Seconds of a step over the line, and of its compute alone."""
    warm_up = 1
    with over(link) as connect:
        nodes = nodes_of(settings, connect, device, warm_up + MEASURED)
        run(nodes)
    slowest = [max(pair) for pair in zip(*(n.seconds[warm_up:] for n in nodes), strict=True)]
    local = [seconds for node in nodes for seconds in node.local_seconds[warm_up:]]
    return {"seconds_a_step": spread(slowest, 4), "compute_seconds_a_step": spread(local, 4)}


def timings(link: Link, device: torch.device) -> dict[str, dict[str, Any]]:
    timed = {
        name: timing(settings, link, device)
        for name, settings in SCHEMES.items()
        if name == REFERENCE or name not in SEND_EVERYTHING
    }
    whole = timed[REFERENCE]
    step = whole["compute_seconds_a_step"]["median"]
    exchange = whole["seconds_a_step"]["median"] - step
    for name, rounds in SEND_EVERYTHING.items():
        if name != REFERENCE:
            timed[name] = {"seconds_a_step": {"median": round(step + exchange / rounds, 4)}}
    return timed


def steps_to(losses: Sequence[Sequence[float]], target: float) -> int | None:
    """The first evaluated step at which the loss is reached."""
    return next((int(step) for step, loss in losses if loss <= target), None)


def curves(device: torch.device, steps: int, state: Path) -> dict[str, list[dict[str, Any]]]:
    """Of each scheme for each of its learning rates."""
    known = json.loads(state.read_text()) if state.exists() else {}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMES}
    for name, rate in [
        *((n, LEARNING_RATE) for n in SCHEMES),
        *((n, HIGHER) for n in TRIED_HIGHER),
    ]:
        key = f"{name} at {rate}, {steps} steps"
        if key not in known:
            known[key] = curve({**SCHEMES[name], "learningRate": rate}, device, steps)
            state.write_text(json.dumps(known))
            print(key, known[key]["losses"][-1], flush=True)
        found[name].append(known[key])
    return found


def table(
    found: Mapping[str, list[dict[str, Any]]], timed: Mapping[str, Mapping[str, Any]]
) -> tuple[float, list[dict[str, Any]]]:
    """The loss to come to, and for each scheme and line how long that takes."""
    best = {name: min(tried, key=lambda row: row["losses"][-1][1]) for name, tried in found.items()}
    reference = best[REFERENCE]["losses"]
    target = reference[int(len(reference) * TARGET_SHARE) - 1][1]
    rows = []
    for name, row in best.items():
        steps = steps_to(row["losses"], target)
        seconds = {
            line: round(steps * timed[line][name]["seconds_a_step"]["median"], 1)
            if steps is not None
            else None
            for line in timed
        }
        rows.append(
            {
                "scheme": name,
                "learning_rate": row["learning_rate"],
                "final_loss": row["losses"][-1][1],
                "bytes_sent_a_step": row["bytes_sent_a_step"],
                "steps_to_target": steps,
                "seconds_to_target": seconds,
            }
        )
    return target, rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--state", type=Path, help="curves measured so far, kept there")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    with TemporaryDirectory() as folder:
        state = arguments.state or Path(folder, "curves.json")
        found = curves(device, arguments.steps, state)
    timed = {f"{rate:g} Mbit/s": timings(Link(rate, ONE_WAY_MS), device) for rate in MEGABITS}
    print(timed, flush=True)
    target, rows = table(found, timed)
    figures = {
        "nodes": NUM_NODES,
        "weights": SmallLm(device).num_weights,
        "steps": arguments.steps,
        "batch_size_per_node": BATCH_SIZE,
        "one_way_delay_ms": ONE_WAY_MS,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "target_loss": target,
        "rows": rows,
        "curves": found,
        "timings": timed,
    }
    write("flexdemo_wan", figures, "" if device.type == "cpu" else f"_{device.type}")


if __name__ == "__main__":
    main()
