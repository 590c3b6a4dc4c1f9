"""What each method would cost a job's pools, and which one to take. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from haversack_operator.api.choice import Choice, choose, fault, situation_of, with_row
from haversack_operator.api.estimate import SITE, Figures, filled, work_of
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.job import JobSpec, Pool
from haversack_operator.api.memory import candidates, fitting, room_bytes
from haversack_operator.api.parse import settings_of
from haversack_operator.api.quantity import format_seconds
from haversack_trainer.contract.cards import METHODS, MethodCard
from haversack_trainer.contract.choices import TABLE
from haversack_trainer.contract.choosing import Row, Situation
from haversack_trainer.contract.traffic import Round


class Verdict(StrEnum):
    ADVISED = "advised"
    FITS = "fits"
    NO_ROOM = "no room"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a method for the peers of one pool."""

    method: str
    pool: str
    memory_bytes: int | None
    """At the peak of a step with this micro-batch; None where the model's size is not known."""
    available_bytes: int | None
    """None where only the node knows."""
    micro_batch_size: int
    round: Round | None
    """None where the model's size is not known."""
    exchange_seconds: float | None
    """Of a round; None where the line is not known."""
    compute_seconds: float | None
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """For a job, by figures."""

    spec: JobSpec
    figures: Figures
    choice: Choice | None
    why_none: str
    costs: tuple[Cost, ...]
    """For every method and pool."""

    @property
    def tuning(self) -> tuple[str, ...]:
        """What the method would choose in its first rounds."""
        return () if self.choice is None else tuple(tuning(self.choice.spec, self.figures))


def advise(spec: JobSpec, figures: Figures) -> Advice:
    """The table's answer, with all methods beside it."""
    try:
        choice, why_none = choose(spec, figures), ""
    except InvalidSpec as error:
        choice, why_none = None, str(error)
    situation = situation_of(spec, figures)
    trials = (_trial(spec, card, situation, choice) for card in METHODS.values())
    costs = (cost for trial in trials for cost in _costs(trial, figures, choice))
    return Advice(spec, figures, choice, why_none, tuple(costs))


def tuning(spec: JobSpec, figures: Figures) -> Iterator[str]:
    """What the job's method chooses in its first rounds, as far as that can be foretold. The spec names the method."""
    member, settings = settings_of(spec)
    work, forecast = work_of(spec), METHODS[spec.method["type"]].load_forecast()
    if work is None:
        return
    line = figures.line or SITE
    _, reason = forecast.on_line(settings, work, line, figures.slowest_step(spec))
    if reason and figures.line is None:
        yield f"spec.method.{member} leaves a choice to the run's first rounds; --bandwidth shows which"
    elif reason:
        yield f"{reason} ({figures.words(spec)})"


def _trial(spec: JobSpec, card: MethodCard, situation: Situation, choice: Choice | None) -> JobSpec:
    """The job with this method: as advised, as it has it, or as the table would set it, here or else in general."""
    if choice is not None and choice.row.method == card.type:
        return choice.spec
    if spec.method["type"] == card.type:
        return spec
    rows = [row for row in reversed(TABLE) if row.method == card.type]
    rows.sort(key=lambda row: not row.suits(situation))
    trials = [with_row(spec, row) for row in (*rows, Row(card.type, card.type, why=""))]
    return next((trial for trial in trials if fault(trial) is None), trials[0])


def _costs(trial: JobSpec, figures: Figures, choice: Choice | None) -> Iterator[Cost]:
    wrong, one = fault(trial), _a_round(trial, figures)
    is_advised = choice is not None and trial.method == choice.spec.method
    exchange = figures.line.exchange_seconds(one) if one and figures.line else None
    for pool in filled(trial):
        compute = one.steps * figures.step_of(trial, pool) if one else None
        fits = fitting(trial, pool)
        shown = fits or candidates(trial, pool)[-1]
        yield Cost(
            method=trial.method["type"],
            pool=pool.name,
            memory_bytes=shown.peak_bytes or None,
            available_bytes=room_bytes(pool),
            micro_batch_size=shown.micro_batch_size,
            round=one,
            exchange_seconds=exchange,
            compute_seconds=compute,
            verdict=_verdict(trial, pool, wrong, is_advised=is_advised),
            reason=wrong or _beside(exchange, compute),
        )


def _a_round(trial: JobSpec, figures: Figures) -> Round | None:
    """With what is left to the first rounds decided by the line, if that is known."""
    work = work_of(trial)
    if work is None:
        return None
    forecast = METHODS[trial.method["type"]].load_forecast()
    _, settings = settings_of(trial)
    if figures.line is not None:
        settings, _ = forecast.on_line(settings, work, figures.line, figures.slowest_step(trial))
    return forecast.a_round(settings, work)


def _verdict(trial: JobSpec, pool: Pool, wrong: str | None, *, is_advised: bool) -> Verdict:
    if fitting(trial, pool) is None:
        return Verdict.NO_ROOM
    if wrong is not None:
        return Verdict.REFUSED
    return Verdict.ADVISED if is_advised else Verdict.FITS


def _beside(exchange: float | None, compute: float | None) -> str:
    if exchange is None or compute is None:
        return (
            "what an exchange takes is not known without model.footprint and the line's bandwidth"
        )
    took, computed = format_seconds(exchange), format_seconds(compute)
    return f"an exchange takes {took}, a round's compute {computed}"
