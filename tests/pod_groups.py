"""Groups on real processes: ``python pod_groups.py MEETING SIZE`` forks so many, since imports take seconds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import stacks
from thread_pod import Model, assert_equal, tried
from torch import nn

from haversack_trainer.blocks import Op, find_groups
from haversack_trainer.blocks.routes import Hosts, num_transfers
from haversack_trainer.pod.team import END, LeaderGone, follow
from haversack_trainer.sharding import World
from haversack_trainer.sharding.groups.opening import open_first, open_other
from haversack_trainer.sharding.groups.passing import RUN

TABLE = [
    [Op.FULL, Op.FORWARD, Op.SKIP, Op.FULL],
    [Op.FORWARD, Op.FULL, Op.FULL, Op.FORWARD],
    [Op.SKIP, Op.SKIP, Op.FULL, Op.FULL],
]
FAMILIES = ("llama", "roberta")
LOST = "gloo/transport/tcp/pair"
"""Of a connection that is lost gloo says where in its code it saw that, in an error that has no class of its own."""
STATE_BYTES = 4 * 2 * 8 * 16
"""Of the hidden state that ``stacks.loss`` sends through the layers."""


def hosts_of(network: nn.Module, world: World) -> Hosts:
    """All processes that there are groups for."""
    count = find_groups(network).num_groups
    return Hosts(Hosts.even(len(TABLE), count, min(world.size, count)).of, world.size)


def groups(world: World, networks: list[nn.Module]) -> None:
    """Gradients of one process, the bytes that are modelled, and each time the same bits."""
    for network in networks:
        hosts = hosts_of(network, world)
        if world.rank == 0:
            lead(network, hosts, world)
            world.broadcast((END, ()))
            continue
        follow(world, open_other(Model(network), find_groups(network), hosts, world))


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


def falling(world: World, network: nn.Module) -> None:
    """The last process is gone in the middle of a pass: nobody waits for it. Each ends with what it found."""
    hosts = hosts_of(network, world)
    try:
        if world.rank == 0:
            open_first(Model(network), tried(network, stacks.loss), hosts, world)
            stacks.loss(network)
        else:
            actions = dict(open_other(Model(network), find_groups(network), hosts, world))
            if world.rank == world.size - 1:
                actions[RUN] = lambda _: os._exit(0)
            follow(world, actions)
    except (RuntimeError, LeaderGone) as error:
        if LOST not in str(error.__cause__ or error):
            raise
        os._exit(0)
    os._exit(1)


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
        falling(world, stacks.network(FAMILIES[-1]))
    return max(os.waitpid(child, 0)[1] for child in children)


if __name__ == "__main__":
    sys.exit(main() != 0)
