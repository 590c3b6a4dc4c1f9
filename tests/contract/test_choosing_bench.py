"""The comparison of all methods: each has the same compute, rates are chosen by their trials, and its page says what there is."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bench.abreast import unfolding
from bench.arms import ARMS, Who, best_rate, num_rounds, rate_of, settings_of
from bench.choosing import Case, merged, reported, row_of, trials
from bench.choosing_page import how, side_by_side
from bench.pages import figures_if_any

from haversack_trainer.contract.cards import METHODS

STEPS = 300


@pytest.mark.parametrize("name", ARMS)
def test_settings_hold_at_every_rate_and_length(name: str) -> None:
    arm = ARMS[name]
    for rate in arm.rates:
        for steps in (1, STEPS):
            settings = settings_of(arm, rate, steps)
            METHODS[arm.method].load_settings().model_validate(settings)
            assert rate_of(settings) == rate
            assert num_rounds(arm, steps) >= 1


def test_every_method_is_there() -> None:
    assert {arm.method for arm in ARMS.values() if arm.who is Who.ALL} == set(METHODS)


def test_rounds_are_as_many_as_the_same_compute_makes() -> None:
    rounds = {name: num_rounds(arm, STEPS) for name, arm in ARMS.items()}
    assert rounds["DecLoRA"] == rounds["one peer alone"] == STEPS / 4
    assert rounds["FlexDeMo, signs"] == STEPS
    assert rounds["SPSA"] == STEPS / 4, "four directions of two passes each cost four steps"
    assert rounds["DropPEFT"] == round(STEPS / (4 * 0.67))
    # 30 steps in full, then at 0.75 of the work and a twentieth for scoring.
    assert rounds["D2FT"] == round((30 + 270 / 0.8) / 4)


def test_a_rate_that_diverged_is_not_taken() -> None:
    assert best_rate({"0.1": math.nan, "0.01": 1.5, "0.001": 1.7}) == "0.01"


def known_of(arm: str, losses: list[float]) -> dict[Case, dict[str, Any]]:
    return {case: {"loss": loss} for case, loss in zip(trials(arm, STEPS), losses, strict=False)}


def test_seeds_follow_the_last_trial_at_its_best_rate() -> None:
    known = known_of("DecLoRA", [1.4, 1.2])
    assert reported(known, list(known)[-1], STEPS, (17, 18)) == []
    known = known_of("DecLoRA", [1.4, 1.2, 1.3])
    due = reported(known, list(known)[-1], STEPS, (17, 18))
    best = ARMS["DecLoRA"].rates[1]
    assert due == [Case("DecLoRA", best, seed, STEPS) for seed in (17, 18)]
    assert {case.seed for case in known}.isdisjoint({17, 18})
    assert reported({**known, due[0]: {"loss": 1.0}}, due[0], STEPS, (17, 18)) == []


def row(arm: str, rate: str = "0.003", seeds: tuple[int, ...] = (17, 18)) -> dict[str, Any]:
    runs = {
        Case(arm, rate, seed, STEPS): {
            "seed": seed,
            "loss": 1.0 + seed / 100,
            "accuracy": seed / 100,
            "bytes": 4_000_000,
            "cpu_seconds": 50.0,
        }
        for seed in seeds
    }
    return row_of(arm, known_of(arm, [1.4, 1.2, 1.3]) | runs)


def test_a_row_is_of_the_seeds_and_not_of_the_trials() -> None:
    found = row("DecLoRA")
    assert (found["loss"], found["accuracy"]) == (1.175, 0.175)
    assert found["sent_bytes_per_peer"] == 1_000_000
    assert found["training_loss_by_rate"] == {"0.001": 1.4, "0.003": 1.2, "0.01": 1.3}
    assert row("one peer alone")["sent_bytes_per_peer"] == 0


def test_rows_of_another_length_or_other_settings_are_dropped() -> None:
    other = {**row("DropPEFT"), "steps": 28}
    changed = {**row("D2FT"), "settings": {**row("D2FT")["settings"], "microBatches": 5}}
    before = {"device": "cpu", "DropPEFT": other, "D2FT": changed, "SPSA": row("SPSA")}
    assert list(merged(before, "DecLoRA", row("DecLoRA"))) == ["DecLoRA", "SPSA"]


def test_the_page_says_what_is_not_measured() -> None:
    learned = {
        "DecLoRA": {"device": "H100", **row("DecLoRA")},
        "SPSA": {"device": "cpu", **row("SPSA", seeds=(17,))},
    }
    head, _, first, second = side_by_side(
        learned, {"DecLoRA": {"ms_a_round": 80.0, "peak_mib": 1500}}
    ).splitlines()
    assert "| 300 plain steps |" in head
    assert first == (
        "| DecLoRA | 0.003 | 75 | 17.5 % (17.0 to 18.0) | 1.175 | 1,000 kB | H100 | 6 | 1,500 MiB |"
    )
    assert second.endswith("| 17.0 % | 1.170 | 1,000 kB | cpu | not measured | not measured |")


def test_the_page_says_how_rates_were_found() -> None:
    rows = {"D2FT": row("D2FT"), "DecLoRA": row("DecLoRA", rate="0.01")}
    assert how(rows).startswith("Means over 2 seeds")
    assert how(rows).endswith("At the least or greatest that was tried: DecLoRA.")


def test_what_is_not_measured_yet_has_no_figures() -> None:
    assert figures_if_any("choosing_on_no_device") == {}


def tenfold(case: int, _result: float) -> list[int]:
    return [10 * case] if case < 10 else []


def test_what_fails_keeps_nothing_else_from_being_done() -> None:
    found: list[tuple[int, float]] = []
    with ThreadPoolExecutor(2) as pool, pytest.raises(ExceptionGroup) as raised:
        found.extend(unfolding(pool, lambda case: 1 / case, (0, 1, 2), tenfold))
    assert dict(found) == {1: 1, 2: 0.5, 10: 0.1, 20: 0.05}
    assert [type(error) for error in raised.value.exceptions] == [ZeroDivisionError]
