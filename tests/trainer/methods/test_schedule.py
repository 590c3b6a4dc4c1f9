"""The learning rate over a run, and that every method goes by it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
import torch
from d2ft_peers import settings_of
from grouped_toys import GroupedToy, PieceBatches
from hypothesis import given
from hypothesis import strategies as st
from layered_toys import LayeredToy
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.contract.schedule import Schedule, ScheduleKind
from haversack_trainer.contract.training import TrainingSpec
from haversack_trainer.methods.d2ft.method import d2ft
from haversack_trainer.methods.declora.method import DecLora
from haversack_trainer.methods.declora.settings import Settings as DecLoraSettings
from haversack_trainer.methods.droppeft.method import DropPeft
from haversack_trainer.methods.droppeft.settings import Settings as DropPeftSettings
from haversack_trainer.methods.flexdemo.method import FlexDeMo
from haversack_trainer.methods.flexdemo.settings import Settings as FlexDeMoSettings
from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.settings import Settings as SpsaSettings

SEED: Final = 17
RATE: Final = "0.01"
WARMING: Final = Schedule(ScheduleKind.COSINE, 50, 10)

schedules = st.builds(
    Schedule, st.sampled_from(ScheduleKind), st.integers(0, 50), st.integers(1, 200)
)


def course(schedule: Schedule, num_steps: int = 1) -> list[float]:
    return [
        schedule.factor(number, step, num_steps)
        for number in range(schedule.num_rounds)
        for step in range(num_steps)
    ]


@given(schedules, st.integers(1, 7))
def test_the_rate_rises_then_falls_and_is_never_0(schedule: Schedule, num_steps: int) -> None:
    factors = course(schedule, num_steps)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert 0 < min(factors) <= max(factors) <= 1


@given(schedules, st.integers(1, 7))
def test_it_hangs_on_steps_and_not_on_how_they_make_rounds(
    schedule: Schedule, num_steps: int
) -> None:
    many = Schedule(schedule.kind, schedule.warm_up_percent, schedule.num_rounds * num_steps)
    assert course(schedule, num_steps) == course(many)


@given(st.integers(0, 50), st.integers(1, 200), st.sampled_from(ScheduleKind))
def test_it_is_what_others_mean_by_these_names(
    percent: int, num_rounds: int, kind: ScheduleKind
) -> None:
    """After the warm-up: down from 1, in the last step one step above 0."""
    warm_up = num_rounds * percent / 100
    for number in range(math.ceil(warm_up), num_rounds):
        gone = (number - warm_up) / (num_rounds - warm_up)
        wanted = {
            ScheduleKind.CONSTANT: 1.0,
            ScheduleKind.LINEAR: 1 - gone,
            ScheduleKind.COSINE: (1 + math.cos(math.pi * gone)) / 2,
        }[kind]
        found = Schedule(kind, percent, num_rounds).factor(number)
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_without_a_word_the_rate_stays() -> None:
    assert set(course(TrainingSpec(rounds=50).schedule, 3)) == {1.0}
    assert Schedule(ScheduleKind.CONSTANT, 50, 8).factor(1) == 0.5


def test_the_job_says_it() -> None:
    spec = TrainingSpec.model_validate(
        {"rounds": 10, "learningRateSchedule": "Cosine", "warmUpPercent": 50}
    )
    assert spec.schedule == WARMING


Made = tuple[Any, Any]
"""A method and its model."""


def a_declora(peer: int, **more: Any) -> Made:
    steps = {"local_steps": more.pop("steps", 1), "optimizer": more.pop("optimizer", "AdamW")}
    settings, model = DecLoraSettings(learning_rate=RATE, **steps), ToyModel()
    return DecLora(settings, peer, SEED, model, ToyBatches(peer), **more), model


def a_d2ft(peer: int, steps: int = 1, **more: Any) -> Made:
    settings, model = settings_of({"local_steps": steps}), GroupedToy()
    return d2ft(settings, peer, SEED, model, PieceBatches(peer), **more), model


def a_droppeft(peer: int, steps: int = 1, **more: Any) -> Made:
    options = {"local_steps": steps, "learning_rate": RATE, "drop_rate": "0.2"}
    settings, model = DropPeftSettings(**options), LayeredToy(4)
    return DropPeft(settings, peer, SEED, model, ToyBatches(peer), **more), model


def a_flexdemo(peer: int, steps: int = 1, **more: Any) -> Made:
    scheme = {"scheme": "DiLoCo", "sync_every": steps} if steps > 1 else {"scheme": "Full"}
    settings, model = FlexDeMoSettings(learning_rate=RATE, **scheme), ToyModel()
    return FlexDeMo(settings, peer, SEED, model, ToyBatches(peer), **more), model


def an_spsa(peer: int, steps: int = 1, **more: Any) -> Made:
    settings, model = SpsaSettings(learning_rate=RATE, directions=4 * steps), ToyModel()
    return Spsa(settings, peer, SEED, model, ToyBatches(peer), **more), model


MAKERS: Final[Mapping[str, Callable[..., Made]]] = {
    "DecLoRA": a_declora,
    "D2FT": a_d2ft,
    "DropPEFT": a_droppeft,
    "FlexDeMo": a_flexdemo,
    "SPSA": an_spsa,
}


def vector(model: Any) -> torch.Tensor:
    return torch.cat([t.reshape(-1) for t in model.trainable_state().values()]).double()


@pytest.mark.parametrize("name", MAKERS)
def test_a_method_steps_as_far_as_the_schedule_says(name: str) -> None:
    """In the first of ten rounds, five of which are to warm up, a fifth of its way."""
    moved = []
    for more in ({}, {"schedule": WARMING}):
        method, model = MAKERS[name](0, **more)
        before = vector(model)
        ToyNetwork().run({0: method}, 0)
        moved.append(vector(model) - before)
    assert moved[0].abs().max() > 1e-3
    assert torch.allclose(moved[1], moved[0] / 5, rtol=1e-3, atol=1e-7)


CASES: Final = [*((name, {}) for name in MAKERS), ("DecLoRA", {"optimizer": "QuasiGlobal"})]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_resumed_run_has_the_rates_that_it_would_have_had(
    name: str, options: dict[str, Any]
) -> None:
    def crew() -> dict[int, Made]:
        more = {"steps": 2, "schedule": Schedule(ScheduleKind.LINEAR, 20, 6), **options}
        return {peer: MAKERS[name](peer, **more) for peer in range(2)}

    def train(network: ToyNetwork, peers: Mapping[int, Made], rounds: range) -> list[torch.Tensor]:
        for number in rounds:
            network.run({peer: method for peer, (method, _) in peers.items()}, number)
        return [vector(model) for _, model in peers.values()]

    whole = train(ToyNetwork(), crew(), range(6))
    network, stopped, resumed = ToyNetwork(), crew(), crew()
    train(network, stopped, range(3))
    for (method, model), (other, its) in zip(resumed.values(), stopped.values(), strict=True):
        model.load_trainable_state(its.trainable_state())
        method.load_state_dict(copy.deepcopy(other.state_dict()))
    again = train(network, resumed, range(3, 6))
    assert all(torch.equal(one, other) for one, other in zip(again, whole, strict=True))
