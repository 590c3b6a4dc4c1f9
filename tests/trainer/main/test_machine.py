from __future__ import annotations

import os
from pathlib import Path

import pytest

from haversack_trainer.main.machine import num_cores

ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", ALLOWED),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("999900000 100000", ALLOWED),
        ("what is this", ALLOWED),
    ],
)
def test_the_quota_of_cgroup_2_limits_the_threads(tmp_path: Path, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert num_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", ALLOWED), ("100000", 1)])
def test_the_quota_of_cgroup_1_limits_the_threads(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert num_cores(tmp_path) == cores


def test_without_a_control_group_affinity_decides(tmp_path: Path) -> None:
    assert num_cores(tmp_path) == ALLOWED
