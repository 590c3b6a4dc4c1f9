"""Groups on real processes: ``python pod_groups.py MEETING SIZE`` forks so many, since imports take seconds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import stacks
from thread_pod import END, Model, assert_equal, tried
from torch import nn

from haversack_trainer.blocks import Op, find_groups
from haversack_trainer.blocks.routes import Hosts, num_transfers
from haversack_trainer.sharding import World
from haversack_trainer.sharding.groups.opening import open_first, open_other

TABLE = [
    [Op.FULL, Op.FORWARD, Op.SKIP, Op.FULL],
    [Op.FORWARD, Op.FULL, Op.FULL, Op.FORWARD],
    [Op.SKIP, Op.SKIP, Op.FULL, Op.FULL],
]
FAMILIES = ("llama", "roberta")
STATE_BYTES = 4 * 2 * 8 * 16
"""Of the hidden state that ``stacks.loss`` sends through the layers."""


def groups(world: World, networks: list[nn.Module]) -> None:
    """Gradients of one process, the bytes that are modelled, and each time the same bits."""
    for network in networks:
        count = find_groups(network).num_groups
        hosts = Hosts(Hosts.even(len(TABLE), count, min(world.size, count)).of, world.size)
        if world.rank == 0:
            lead(network, hosts, world)
            world.broadcast((END, ()))
            continue
        actions = open_other(Model(network), find_groups(network), hosts, world)
        while (word := world.broadcast())[0] != END:
            actions[word[0]](*word[1])


def lead(network: nn.Module, hosts: Hosts, world: World) -> None:
    """On the first process."""
    table = [row[: len(hosts.of[0])] for row in TABLE]
    model, alone = Model(network), tried(network, stacks.loss)
    with alone.under(table):
        wanted = stacks.gradients(network)
    wanted = {"loss": wanted["loss"], **{n: p.grad for n, p in model.trainables()}}
    first = open_first(model, alone, hosts, world)
    found = []
    for _ in range(2):
        for _, parameter in model.trainables():
            parameter.grad = None
        before = first.num_bytes
        with first.step():
            with first.under(table):
                loss = stacks.loss(network)
            loss.backward()  # type: ignore[no-untyped-call]
            moved = first.num_bytes - before
        found.append({"loss": loss.detach(), **{n: p.grad for n, p in model.trainables()}})
    assert moved == STATE_BYTES * num_transfers(table, hosts, 2, backward=True)
    assert stacks.same(*found)
    assert_equal(found[0], wanted)


def main() -> int:
    meeting, size, children = Path(sys.argv[1]), int(sys.argv[2]), []
    networks = [stacks.network(family) for family in FAMILIES]
    networks[0].requires_grad_(True)
    for rank in range(size):
        if child := os.fork():
            children.append(child)
            continue
        world = World.join(rank, size, meeting)
        groups(world, networks)
        world.leave()
        return 0
    return max(os.waitpid(child, 0)[1] for child in children)


if __name__ == "__main__":
    sys.exit(main() != 0)
