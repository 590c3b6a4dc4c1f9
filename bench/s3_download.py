"""A 384 MB object from S3: peak memory beyond the process (goal: 16 MB), time, and after broken connections.

Run by ``python -m bench.s3_download [MB]``. The server (versitygw, or moto without it) and the fault proxy run in processes of their own, so that only the
downloading process is measured.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.figures import spread, write
from bench.servers import s3

from haversack_trainer.contract.spec import S3Spec
from haversack_trainer.objects.opening import open_store

REPEATS = 5


def main() -> None:
    """Make the object, download it in fresh processes, write the figures."""
    num_mb = int(sys.argv[1]) if len(sys.argv) > 1 else 384
    with tempfile.TemporaryDirectory(prefix="haversack-bench-") as name:
        folder = Path(name)
        source, sha256 = _source(folder, num_mb)
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(theirs, folder, source, sha256)
        )
        server.start()
        direct, broken, kind = ours.recv()
        runs = [_measure(direct, sha256, folder) for _ in range(REPEATS)]
        torn = [_measure(broken, sha256, folder) for _ in range(REPEATS)]
        ours.send("done")
        server.join()
    write(
        "s3_download",
        {
            "object_mb": num_mb,
            "server": kind,
            "peak_mb_beyond_process": spread([run["peak_mb"] for run in runs]),
            "seconds": spread([run["seconds"] for run in runs]),
            "mb_per_second": spread([num_mb / run["seconds"] for run in runs]),
            "cpu_seconds": spread([run["cpu_seconds"] for run in runs]),
            "with_3_broken_connections": {
                "peak_mb_beyond_process": spread([run["peak_mb"] for run in torn]),
                "seconds": spread([run["seconds"] for run in torn]),
            },
        },
    )


def _source(folder: Path, num_mb: int) -> tuple[Path, str]:
    path, digest = folder / "source", hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(num_mb):
            block = os.urandom(1_000_000)
            file.write(block)
            digest.update(block)
    return path, digest.hexdigest()


def _serve(pipe: Connection, folder: Path, source: Path, sha256: str) -> None:
    with s3(folder) as (server, proxy):
        from s3faults import Fault

        store = open_store(f"s3://{server.bucket}/bench", server.spec, server.environ)
        store.put_file("object", source, sha256)
        every_fourth = iter(range(10**9))
        proxy.spoil(
            Fault.TORN_BODY,
            10**9,
            matches=lambda method, _: method == "GET" and next(every_fourth) % 4 < 3,
        )
        addresses = [
            _address(one.endpoint, server.environ, store.uri) for one in (server, proxy.server)
        ]
        pipe.send((*addresses, server.name))
        pipe.recv()


def _address(endpoint: str | None, environ: dict[str, str], uri: str) -> dict[str, Any]:
    return {"endpoint": endpoint, "environ": environ, "uri": uri}


def _measure(address: dict[str, Any], sha256: str, folder: Path) -> dict[str, float]:
    """One download in a fresh process."""
    command = [sys.executable, "-m", "bench.s3_download", "--child", str(folder / "target"), sha256]
    done = subprocess.run(
        command, input=json.dumps(address), capture_output=True, text=True, check=True, timeout=300
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def child(target: Path, sha256: str) -> None:
    """Connect by a small object first, so that imports and TLS count as the process, not as the download."""
    address = json.load(sys.stdin)
    store = open_store(address["uri"], S3Spec(endpoint=address["endpoint"]), address["environ"])
    store.head("object")
    ctypes.CDLL(None).malloc_trim(0)  # what imports freed is not to hide what the download takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, began, cpu = _memory_mb("VmRSS"), time.perf_counter(), time.process_time()
    store.download("object", target, sha256)
    figures = {
        "peak_mb": _memory_mb("VmHWM") - before,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }
    print(json.dumps(figures))


def _memory_mb(name: str) -> float:
    (line,) = (
        one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name)
    )
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
