"""What a job's hub is told of its blobs."""

from __future__ import annotations

import pytest
from report_cases import a_job

from haversack_trainer.contract.jobfile import MethodChoice
from haversack_trainer.contract.network import BulkPath, NetworkSpec
from haversack_trainer.main.hub import has_all_blobs


@pytest.mark.parametrize(
    ("method", "bulk", "expected"),
    [
        ("DecLoRA", BulkPath.RELAY, True),
        ("FlexDeMo", BulkPath.RELAY, True),
        ("DecLoRA", BulkPath.DIRECT, False),
        ("SPSA", BulkPath.RELAY, False),
    ],
)
def test_all_blobs_come_to_the_hub_where_it_relays_them(
    method: str, bulk: BulkPath, *, expected: bool
) -> None:
    changes = {"method": MethodChoice(type=method), "network": NetworkSpec(bulk=bulk)}
    assert has_all_blobs(a_job().model_copy(update=changes)) == expected
