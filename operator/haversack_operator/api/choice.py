"""``method.type: Auto``: the table's answer for a job, as the operator, ``run`` and ``plan`` alike find it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from haversack_operator.api.estimate import Figures, declared, filled, work_of
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.job import JobSpec
from haversack_operator.api.memory import candidates, fitting, room_bytes
from haversack_operator.api.parse import broken_rules, settings_of
from haversack_operator.api.quantity import format_bytes
from haversack_operator.api.status import MAX_REASON
from haversack_trainer.contract.cards import METHODS, MethodSettings
from haversack_trainer.contract.choices import TABLE
from haversack_trainer.contract.choosing import (
    AUTO,
    ROUND_STEPS,
    WORDS,
    Memory,
    Peers,
    Row,
    Situation,
    links_of,
    pick,
)
from haversack_trainer.contract.spec import (
    MAX_PERIOD,
    CheckpointSpec,
    EvaluationSpec,
)
from haversack_trainer.contract.traffic import Work
from haversack_trainer.contract.training import MAX_ROUNDS

Periodic = TypeVar("Periodic", CheckpointSpec, EvaluationSpec)

UNLIKE: Final = 2.0
"""Times as fast as the slowest peer, from which on it matters."""
TINY: Final = 8
"""Passes of a step: a micro-batch that makes more of them is tiny."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A method for a job, with the spec that names it."""

    spec: JobSpec
    reason: str
    row: Row


def resolved(spec: JobSpec, status: Mapping[str, Any] | None = None) -> tuple[JobSpec, str]:
    """The spec with a method, and why that one; as it is, and an empty reason, where the job names its own. What is
    in ``status`` was chosen before and stands: pools may change meanwhile, a run's method may not.

    Raises ``InvalidSpec`` if no method will do."""
    if spec.method.get("type") != AUTO:
        return spec, ""
    found = _recorded(spec, (status or {}).get("method"))
    if found is not None:
        return found
    choice = choose(spec, declared(spec))
    return choice.spec, choice.reason


def choose(spec: JobSpec, figures: Figures) -> Choice:
    """The first row of the table for the job's situation that fits its memory and its rules. Raises ``InvalidSpec``."""
    situation = situation_of(spec, figures)
    row = pick(TABLE, situation, lambda row: fault(with_row(spec, row)) is None)
    if row is None:
        tried = next(row for row in reversed(TABLE) if row.suits(situation))
        first = next(row for row in TABLE if row.suits(situation))
        why = fault(with_row(spec, first)) or fault(with_row(spec, tried))
        raise InvalidSpec(
            f"spec.method.type: Auto finds no method for this job; {first.method}: {why}"
        )
    return Choice(with_row(spec, row), _reason(spec, row, situation, figures), row)


def situation_of(spec: JobSpec, figures: Figures) -> Situation:
    """Of a job whose lines and steps are as fast as that."""
    line = links_of(figures.line, work_of(spec), figures.slowest_step(spec))
    return Situation(line, _memory(spec), _peers(spec, figures))


def with_row(spec: JobSpec, row: Row) -> JobSpec:
    """The job with the row's method, and with as many of its rounds as come to the same compute."""
    named = _with(spec, row.method, row.settings)
    if spec.method["type"] != AUTO:
        return named
    work = work_of(spec) or Work(trainable=1, num_layers=1, num_peers=1)
    _, settings = settings_of(named)
    steps = METHODS[row.method].load_forecast().a_round(settings, work).steps
    return _with_rounds(named, round(spec.training.rounds * ROUND_STEPS / steps))


def fault(spec: JobSpec) -> str | None:
    """Why a job cannot have the method that its spec names: a rule, or the memory of a pool, in a sentence."""
    broken = next((f"{path}.{rule.message}" for path, rule in broken_rules(spec)), None)
    if broken is not None:
        return broken
    member, settings = settings_of(spec)
    said = settings.fault(sum(pool.peers.replicas for pool in spec.pools))
    if said is not None:
        return f"spec.method.{member}.{said}"
    return next(_too_small(spec), None)


def _too_small(spec: JobSpec) -> Iterator[str]:
    for number, pool in enumerate(spec.pools):
        if pool.peers.replicas and fitting(spec, pool) is None:
            least, room = candidates(spec, pool)[-1], room_bytes(pool) or 0
            field = "resources.memory" if pool.accelerator is None else "accelerator.memory"
            yield (
                f"a step of pool {pool.name} takes {format_bytes(least.peak_bytes)}, and "
                f"spec.pools[{number}].{field} is {format_bytes(room)}; raise it"
            )


def _with(spec: JobSpec, type_: str, settings: Mapping[str, Any]) -> JobSpec:
    method = {"type": type_, METHODS[type_].member: dict(settings)}
    return spec.model_copy(update={"method": method})


def _with_rounds(spec: JobSpec, rounds: int) -> JobSpec:
    """The job with so many rounds, and its periods in proportion."""
    rounds = min(max(1, rounds), MAX_ROUNDS)

    def scaled(part: Periodic) -> Periodic:
        period = round(part.period_rounds * rounds / spec.training.rounds)
        return part.model_copy(update={"period_rounds": min(max(1, period), MAX_PERIOD)})

    return spec.model_copy(
        update={
            "training": spec.training.model_copy(update={"rounds": rounds}),
            "checkpoint": scaled(spec.checkpoint),
            "evaluation": scaled(spec.evaluation),
        }
    )


def _recorded(spec: JobSpec, recorded: Any) -> tuple[JobSpec, str] | None:
    """None where there is nothing that makes sense."""
    try:
        found = _with(spec, recorded["type"], json.loads(recorded["settings"]))
        settings_of(found)
        return _with_rounds(found, int(recorded["rounds"])), str(recorded["reason"])
    except (KeyError, TypeError, ValueError, InvalidSpec):
        return None


def _memory(spec: JobSpec) -> Memory:
    tries = [trial for trial in (with_row(spec, row) for row in TABLE) if _has_backward(trial)]
    wanted = spec.training.micro_batch_size or spec.training.batch_size
    least = [_least_micro_batch(trial) for trial in tries]
    plain = [size for size, trial in zip(least, tries, strict=True) if _is_whole(trial)]
    if max(plain, default=0) * TINY >= wanted:
        return Memory.WHOLE
    return Memory.PARTS if any(least) else Memory.FORWARD


def _has_backward(spec: JobSpec) -> bool:
    return METHODS[spec.method["type"]].needs_backward


def _is_whole(spec: JobSpec) -> bool:
    """Whether a step keeps activations of all layers."""
    footprint = spec.model.footprint
    settings: MethodSettings = settings_of(spec)[1]
    return footprint is None or settings.active_layers(footprint.num_layers) == footprint.num_layers


def _least_micro_batch(spec: JobSpec) -> int:
    """What the pool with the least room can take; 0: nothing."""
    found = [fitting(spec, pool) for pool in filled(spec)]
    return min(one.micro_batch_size if one else 0 for one in found)


def _peers(spec: JobSpec, figures: Figures) -> Peers:
    counts = {pool.accelerator.count if pool.accelerator else 1 for pool in filled(spec)}
    if len(counts) == 1 and max(counts) > 1:
        return Peers.SEVERAL_DEVICES
    return Peers.MIXED if figures.unevenness(spec) > UNLIKE else Peers.ALIKE


def _reason(spec: JobSpec, row: Row, situation: Situation, figures: Figures) -> str:
    """What the row asks of a situation is what decided."""
    decided = [
        WORDS[given]
        for asked, given in (
            (row.links, situation.links),
            (row.memory, situation.memory),
            (row.peers, situation.peers),
        )
        if asked
    ] or [WORDS[situation.links]]
    said = (
        f"Auto chose {row.method}, since {' and '.join(decided)}: {row.why} ({figures.words(spec)})"
    )
    return said[:MAX_REASON]
