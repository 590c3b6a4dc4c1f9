"""Runs with differential privacy: peers and report say what was spent, and what became of a budget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_harness import ON_TWO_LAYERS, Crew, Killed, Memory, wait_until

from haversack_trainer.privacy.account import Use, epsilon

SETTINGS = {"directions": 2, "privacy": {"clip": "2", "noiseMultiplier": "3"}}
SPENT = epsilon(3, 4.0, 1e-5)
BUDGET = {"clip": "0.01", "noiseMultiplier": "4", "maxEpsilon": "2"}


def test_a_private_run_says_what_it_spent(crew: Callable[..., Crew], tmp_path: Path) -> None:
    two = crew(settings=SETTINGS)
    two.run()
    assert len(two.survivors) == 2
    reports = two.survivors[0].exchange.peer_reports()
    for number, peer in two.peers.items():
        records = len(peer.material.split.parts[number])
        uses = Use(records, batch_size=4, noisy_per_batch=1).after(6 * 2)
        assert reports[number].epsilon == pytest.approx(epsilon(uses, 3.0, 1e-5))
        assert reports[number].loss is None
    (page,) = (tmp_path / "store").rglob("report.html")
    most = max(report.epsilon or 0 for report in reports.values())
    assert f"Privacy spent by a peer: epsilon {most:.2f} at most." in page.read_text()


@pytest.mark.parametrize(
    ("method", "options", "when"),
    [
        ("DropPEFT", {**ON_TWO_LAYERS["DropPEFT"], "localSteps": 1}, "Stop"),
        ("DecLoRA", {"localSteps": 1, "mixer": "FFA"}, "Halt"),
    ],
)
def test_with_the_budget_the_run_ends(
    method: str, options: dict[str, Any], when: str, crew: Callable[..., Crew], tmp_path: Path
) -> None:
    """Three rounds of six are affordable. Then what there is is published, or nothing."""
    gate = {"gate": {"tolerance": "1000"}, "periodRounds": 3}
    settings = {**options, "privacy": {**BUDGET, "whenSpent": when}}
    two = crew(method, settings=settings, evaluation=gate)
    two.run()
    assert len(two.survivors) == 2
    state = two.survivors[0].exchange.state
    assert [closed.round for closed in state.closed] == [0, 1, 2]
    assert state.ending is not None
    assert state.verdict is not None
    assert state.verdict.round == 3
    assert (state.publication is not None) == (when == "Stop")
    assert state.verdict.reason.startswith("Halted after 3 rounds: ") == (when == "Halt")
    reports = two.survivors[0].exchange.peer_reports().values()
    assert [report.epsilon for report in reports] == [pytest.approx(SPENT)] * 2
    (page,) = (tmp_path / "store").rglob("report.html")
    assert "there are no more rounds: privacy.maxEpsilon is 2" in page.read_text()


def test_samples_are_protected_in_a_real_model(crew: Callable[..., Crew]) -> None:
    privacy = {"unit": "Sample", "noiseMultiplier": "8"}
    settings = {"localSteps": 1, "mixer": "FFA", "privacy": privacy}
    gate = {"gate": {"tolerance": "1000"}, "periodRounds": 3}
    two = crew("DecLoRA", settings=settings, evaluation=gate)
    two.run()
    assert two.survivors[0].exchange.state.publication is not None
    reports = two.survivors[0].exchange.peer_reports()
    for number, peer in two.peers.items():
        uses = Use(len(peer.material.split.parts[number]), 4, noisy_per_batch=1).after(6)
        assert reports[number].epsilon == pytest.approx(epsilon(uses, 8.0, 1e-5))
        assert reports[number].loss is None


def test_what_a_killed_process_had_published_counts(crew: Callable[..., Crew]) -> None:
    """Its payload was in the open round when it was killed, and the round closed without."""
    settings = {"localSteps": 1, "mixer": "FFA", "privacy": {"noiseMultiplier": "9"}}
    two = crew("DecLoRA", settings=settings, minPeers=2, evaluation={"gate": {"tolerance": "1000"}})
    assert isinstance(two.transport, Memory)
    log, first, other = two.transport.log.book, two.peers[0], two.peers[1]

    def killed() -> bool:
        if log.state.round == 3 and log.state.has_published(0):
            raise Killed
        return False

    def waits() -> bool:
        # For the one that is killed, and then for its next process.
        if other.round == 3 and log.state.start is not None:
            wait_until(lambda: first.error is not None and log.state.is_member(0))
        return False

    first.stop, other.stop = killed, waits
    first.start()
    other.start()
    first.join()
    assert isinstance(first.error, Killed)
    again = two.add(0)
    again.start()
    again.join()
    other.join()
    rounds = sum(0 in closed.members for closed in log.state.closed)
    assert rounds < len(log.state.closed)
    told = again.exchange.peer_reports()[0].epsilon
    assert told == pytest.approx(epsilon(rounds + 1, 9.0, 1e-5))
