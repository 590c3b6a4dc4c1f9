"""D2FT where the peer is a pod of several processes: which groups are on which, and whether the model allows that."""

from __future__ import annotations

from typing import Final

from haversack_trainer.blocks import BlocksError, GroupExecutor
from haversack_trainer.blocks.routes import Hosts
from haversack_trainer.method import LayeredTrainee, PiecewiseBatches, Unsuited
from haversack_trainer.sharding import World
from haversack_trainer.sharding.groups.first import FirstProcess
from haversack_trainer.sharding.groups.opening import open_first

from .settings import Settings
from .site import Site

_FIELD: Final = "method.d2FT"


def hosts_of(settings: Settings, site: Site, num_processes: int) -> Hosts:
    """Devices that the job names are the pod's processes; otherwise each has as many groups of a layer as the others,
    up to one. Raises ``Unsuited``."""
    fault = settings.fault_of_processes(num_processes)
    if fault is not None:
        raise Unsuited(f"{_FIELD}.{fault}")
    if num_processes > site.num_groups:
        raise Unsuited(
            f"{_FIELD}.groups: the pod's {num_processes} processes have {site.num_groups} groups of a layer to share "
            "out; have fewer processes (accelerator.count or processes), or raise groups if it is set"
        )
    if settings.devices is None:
        return Hosts.even(site.num_layers, site.num_groups, num_processes)
    count = site.num_groups
    rows = (site.where[layer * count : (layer + 1) * count] for layer in range(site.num_layers))
    return Hosts(tuple(rows), num_processes)


def shared_out(
    model: LayeredTrainee, executor: GroupExecutor, hosts: Hosts, world: World
) -> FirstProcess:
    """The model's groups go to their processes. Raises ``Unsuited``."""
    if any(getattr(module, "gradient_checkpointing", False) for module in model.network.modules()):
        raise Unsuited(
            f"{_FIELD}.sharding: with gradient checkpointing layers run twice, of which other processes would not "
            "know; turn it off in the model's config, or write sharding None"
        )
    world.broadcast(hosts)
    try:
        return open_first(model, executor, hosts, world)
    except BlocksError as error:
        raise _refusal(error) from error


def try_out(
    settings: Settings, model: LayeredTrainee, batches: PiecewiseBatches, executor: FirstProcess
) -> None:
    """There and back once: whether parts are called so that other processes can do the same. Raises ``Unsuited``."""
    model.train(mode=True)
    try:
        with executor.step():
            loss = model.loss(batches.pieces(0, settings.micro_batches)[0].batches[0])
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    except BlocksError as error:
        raise _refusal(error) from error
    for _, parameter in model.trainables():
        parameter.grad = None
    executor.executed.clear()


def _refusal(error: BlocksError) -> Unsuited:
    return Unsuited(f"{_FIELD}.sharding: {error}; write None")
