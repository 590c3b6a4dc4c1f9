"""A peer's drop rate for a round: the one of the settings, or the one that the bandit chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple
from typing import Any

from haversack_trainer.method import Unsuited

from .bandit import Arm, Policy, Pull, choose, in_time, recent
from .masks import expected_active, most_active
from .rates import Infeasible, Rates
from .settings import DEFAULT_ARMS, Settings
from .word import Trial


class Configurator:
    """What past rounds taught, the same at every peer that has read the same log."""

    def __init__(
        self,
        settings: Settings,
        peer: int,
        seed: int,
        rates_of: Callable[[Arm], Rates],
        fits: Callable[[int], bool],
    ) -> None:
        """``fits``: whether so many active layers have room on this machine. Raises ``Unsuited``."""
        self._settings, self._peer, self._seed = settings, peer, seed
        rates = dict(_arms(settings, rates_of))
        self._policy = Policy.of(settings, rates)
        self._depths = {
            arm: expected_active(each)
            for arm, each in rates.items()
            if fits(most_active(each, settings.sampler))
        }
        if not self._depths:
            raise Unsuited(
                "method.dropPEFT.arms: a step does not fit this machine's memory at any of "
                f"{', '.join(format(arm, 'g') for arm in self._policy.arms)}; lower training.microBatchSize or "
                "dataset.maxLength, or add a higher rate"
            )
        self._pulls: tuple[Pull, ...] = ()

    def pick(self, round: int, kind: str) -> Arm:
        """This peer's arm; ``kind`` is the class of its machine."""
        quick = in_time(self._depths, self._pulls, self._peer, self._settings.round_seconds)
        return choose(
            self._policy,
            self._pulls,
            sorted(quick),
            seed=self._seed,
            round=round,
            peer=self._peer,
            kind=kind,
        )

    def note(self, round: int, trials: Mapping[int, Trial]) -> None:
        """Take in what a closed round's peers tell."""
        new = (
            Pull(round, peer, trial.kind, trial.arm, trial.gain, trial.seconds)
            for peer, trial in sorted(trials.items())
        )
        kept = recent(self._pulls, round + 1, self._settings.window_rounds)
        self._pulls = (*kept, *new)

    def state(self) -> list[Any]:
        return [list(astuple(pull)) for pull in self._pulls]

    def load(self, state: Iterable[Any]) -> None:
        """Inverse of ``state``."""
        self._pulls = tuple(Pull(*each) for each in state)


def _arms(settings: Settings, rates_of: Callable[[Arm], Rates]) -> Iterable[tuple[Arm, Rates]]:
    """Rate 0 and those of the settings, or as many of the usual ones as the model has layers for."""
    yield 0.0, rates_of(0.0)
    wanted = settings.arms
    for arm in sorted(set(map(float, wanted or DEFAULT_ARMS)) - {0.0}):
        try:
            yield arm, rates_of(arm)
        except Infeasible as error:
            if wanted:
                raise Unsuited(f"method.dropPEFT.arms: {error}") from error
