"""Names of what the operator makes: no two jobs of a namespace may want the same one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from haversack_operator.api import owned
from haversack_operator.api.job import NAME_PATTERN
from haversack_trainer.contract.base import NAME_LABEL_PATTERN

JOBS = st.from_regex(NAME_PATTERN, fullmatch=True, alphabet="ab0-")
POOLS = st.from_regex(NAME_LABEL_PATTERN, fullmatch=True, alphabet="ab0-")
NUMBERS = st.integers(0, 11)


def test_a_pool_that_ends_like_another_jobs_name_is_told_apart() -> None:
    assert owned.peer_pod("a", "b-0", 1, 0) != owned.peer_pod("a-b", "0", 1, 0)


@given(job=JOBS, pool=POOLS, ordinal=NUMBERS, attempt=NUMBERS)
def test_a_name_says_whose_pod_it_is(job: str, pool: str, ordinal: int, attempt: int) -> None:
    of_job, _, rest = owned.peer_pod(job, pool, ordinal, attempt).partition("--")
    assert (of_job, *rest.rsplit("-", 2)) == (job, pool, str(ordinal), str(attempt))


@given(job=JOBS, attempt=NUMBERS)
def test_no_peer_has_a_hubs_name(job: str, attempt: int) -> None:
    assert "--" not in owned.hub_pod(job, attempt)
