"""A run with differential privacy: peers and report say what was spent, and no training loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from run_harness import Crew

from haversack_trainer.methods.spsa.privacy import Use, epsilon

SETTINGS = {"directions": 2, "privacy": {"clip": "2", "noiseMultiplier": "3"}}


def test_a_private_run_says_what_it_spent(crew: Callable[..., Crew], tmp_path: Path) -> None:
    two = crew(settings=SETTINGS)
    two.run()
    assert len(two.survivors) == 2
    reports = two.survivors[0].exchange.peer_reports()
    for number, peer in two.peers.items():
        records = len(peer.material.split.parts[number])
        uses = Use(records, batch_size=4, scalars_per_batch=1).after(6 * 2)
        assert reports[number].epsilon == pytest.approx(epsilon(uses, 3.0, 1e-5))
        assert reports[number].loss is None
    (page,) = (tmp_path / "store").rglob("report.html")
    most = max(report.epsilon or 0 for report in reports.values())
    assert f"Privacy spent by a record: epsilon {most:.2f} at most." in page.read_text()
