"""What D2FT finds in a model, and the planner that settings and model make. Raises ``Unsuited``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch

from haversack_trainer.blocks import BlocksError, GroupExecutor, Groups, Mode, Op, find_groups
from haversack_trainer.blocks.scores import magnitude
from haversack_trainer.method import LayeredTrainee, PiecewiseBatches, Unsuited

from .cost import Costs, Infeasible
from .kinds import Protect, Solver
from .needs import Needs
from .planner import Planner
from .scoring import measured_rho
from .settings import BUDGET, FULL_SHARE, Settings
from .site import Site, capacities, place

_FIELD: Final = "method.d2FT"
RHO_OF_ADAPTERS: Final = 1 / 2
"""Over a frozen base a backward pass computes no gradients of weights: it costs what a forward pass does."""
RHO_OF_EVERYTHING: Final = 1 / 3


def groups_of(settings: Settings, model: LayeredTrainee) -> Groups:
    """Of the network; something must be trained in its layers."""
    try:
        groups = find_groups(model.network, settings.groups)
    except BlocksError as error:
        field = "method.type D2FT" if settings.groups is None else f"{_FIELD}.groups"
        raise Unsuited(f"{field}: {error}") from error
    if not groups.layers.of_parameters(iter(model.trainables())):
        raise Unsuited(
            f"method.type D2FT: nothing is trained in the layers at {groups.layers.path}; set "
            "adapter.lora.targetModules to linear layers in them"
        )
    return groups


def executor_of(
    settings: Settings, model: LayeredTrainee, groups: Groups, batches: PiecewiseBatches
) -> GroupExecutor:
    """Tried out on a batch: whether a model can be sliced shows in a pass only."""
    try:
        executor = GroupExecutor(groups, Mode(settings.mode))
        ops = [[Op.FULL, *[Op.FORWARD] * (groups.num_groups - 1)]] * len(groups)
        model.train(mode=True)
        with torch.no_grad(), executor.under(ops):
            model.loss(batches.pieces(0, settings.micro_batches)[0].batches[0])
    except BlocksError as error:
        raise Unsuited(f"{_FIELD}.mode: {error}") from error
    executor.executed.clear()
    return executor


def planner_of(
    settings: Settings,
    model: LayeredTrainee,
    batches: PiecewiseBatches,
    groups: Groups,
    clock: Callable[[], float],
) -> Planner:
    """Checked: every step will have a table."""
    pieces = batches.pieces(0, settings.micro_batches)
    if not all(len(piece.records) for piece in pieces):
        raise Unsuited(
            f"{_FIELD}.microBatches: a step's batch has fewer samples than {settings.micro_batches}; lower it or "
            "raise training.batchSize"
        )
    rho = (
        measured_rho(model, pieces[0].batches[0], clock)
        if settings.measure_rho
        else _rho(settings, model)
    )
    planner = Planner(
        _site(settings, groups, Costs.of(rho)),
        _needs(settings, len(groups)),
        settings.solver,
        settings.ties,
        (settings.slots.full, settings.slots.forward_only) if settings.slots else (0, 0),
        float(settings.full_share or FULL_SHARE),
    )
    try:
        planner.check()
    except Infeasible as error:
        raise Unsuited(f"{_FIELD}.{error}") from error
    return planner


def _rho(settings: Settings, model: LayeredTrainee) -> float:
    if settings.rho is not None:
        return float(settings.rho)
    is_frozen = any(not parameter.requires_grad for parameter in model.network.parameters())
    return RHO_OF_ADAPTERS if is_frozen else RHO_OF_EVERYTHING


def _site(settings: Settings, groups: Groups, costs: Costs) -> Site:
    """Where the job names devices, each gets groups of equal weight for its speed, so that valuable ones do not
    compete for one budget."""
    count, micro = len(groups) * groups.num_groups, settings.micro_batches
    if settings.devices is None:
        where, speeds = tuple(range(count)), (1,) * count
    else:
        speeds = tuple(settings.devices)
        where = place(magnitude(groups).ravel().tolist(), speeds)
    if settings.slots is not None:
        room = (settings.slots.full * costs.full,) * count
    else:
        room = capacities(float(settings.budget or BUDGET), costs, where, speeds, micro)
    return Site(len(groups), groups.num_groups, micro, costs, where, room, speeds)


def _needs(settings: Settings, num_layers: int) -> Needs:
    first, last = frozenset({0}), frozenset({num_layers - 1})
    protected = {
        Protect.NONE: frozenset[int](),
        Protect.FIRST: first,
        Protect.LAST: last,
        Protect.FIRST_AND_LAST: first | last,
    }[settings.protect]
    # Slots go with protected layers only where they skip nothing.
    is_slotted = settings.solver is Solver.SLOTS
    return Needs(
        settings.min_active, settings.max_idle_steps, frozenset() if is_slotted else protected
    )
