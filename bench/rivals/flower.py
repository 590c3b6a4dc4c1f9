"""FedAvg of LoRA by Flower: its simulation, its strategy, its messages. Run by ``bench.flower_fedavg`` in Flower's own
virtual environment, with the folder of the task; the averaged states go there as ``round-N.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.rivals.peer import Peer, initial
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from safetensors.torch import save_file

client = ClientApp()


@cache
def peer_of(folder: str, number: int) -> Peer:
    return Peer(Path(folder), number, keeps_moments=False)


@client.train()  # type: ignore[untyped-decorator]  # Flower is not installed where mypy runs
def train(message: Message, context: Context) -> Message:
    """One round's local steps."""
    config = message.content["config"]
    peer = peer_of(str(config["folder"]), int(context.node_config["partition-id"]))
    peer.load(message.content["arrays"].to_torch_state_dict())
    number = int(config["server-round"])
    figures: dict[str, float] = {"num-examples": peer.train(number - 1)}
    content = RecordDict({"arrays": ArrayRecord(peer.state())})
    figures["local_cpu_seconds"] = peer.local_cpu_seconds[-1]
    if number == peer.task["rounds"]:
        figures["down_bytes"], figures["up_bytes"] = num_bytes(message.content), num_bytes(content)
    content["metrics"] = MetricRecord(figures)
    return Message(content=content, reply_to=message)


def num_bytes(content: RecordDict) -> int:
    """As Flower sends it."""
    return sum(len(each.deflate()) for each in get_all_nested_objects(content).values())


def server_of(folder: Path, task: Mapping[str, Any]) -> ServerApp:
    """FedAvg over all clients in each round; the clients are asked for no evaluation."""
    server = ServerApp()
    count = task["peers"]

    def keep(round: int, arrays: ArrayRecord) -> MetricRecord:
        if round:
            save_file(arrays.to_torch_state_dict(), folder / f"round-{round}.safetensors")
        return MetricRecord({})

    @server.main()  # type: ignore[untyped-decorator]  # as above
    def main(grid: Grid, _context: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=count, min_available_nodes=count)
        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(initial(folder)),
            num_rounds=task["rounds"],
            train_config=ConfigRecord({"folder": str(folder)}),
            evaluate_fn=keep,
        )
        # Of the clients' equal numbers of samples these are plain means.
        means = {number: dict(each) for number, each in result.train_metrics_clientapp.items()}
        (folder / "means.json").write_text(json.dumps(means))

    return server


def main(folder: Path) -> None:
    """Ray has one process for all clients: each has the machine to itself in its turn, and what it imports is
    imported once."""
    task = json.loads((folder / "task.json").read_text())
    run_simulation(
        server_app=server_of(folder, task),
        client_app=client,
        num_supernodes=task["peers"],
        backend_config={
            "init_args": {"num_cpus": 1},
            "client_resources": {"num_cpus": 1, "num_gpus": 0},
        },
    )
