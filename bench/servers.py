"""The S3 servers of the tests, for benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from s3faults import FaultProxy
    from s3server import S3Server

_TESTS: Final = str(Path(__file__).parents[1] / "tests")


@contextmanager
def s3(folder: Path) -> Iterator[tuple[S3Server, FaultProxy]]:
    """versitygw, or moto where that is not installed, and the fault proxy in front of it."""
    sys.path.insert(0, _TESTS)
    from s3faults import fault_proxy
    from s3server import s3_server

    with s3_server(folder) as server, fault_proxy(server) as proxy:
        yield server, proxy
