"""``haversack replay``: a run's adapter, made again from base model and log by the trainer's own program."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from haversack_operator.cluster.local_launch import decoded

from . import found, jobfile
from .words import FAILED, InputError, program

ABOUT: Final = (
    "Makes the adapter of a run again, from the base model and the run's log, on a machine that took no part; "
    "checks the log's hash chain, the base model and the adapter's published sha256. For methods whose log is "
    "their adapter: SPSA."
)


def main(arguments: Sequence[str]) -> int:
    """Replay; exit code 0 the published adapter came out, 1 or 2 it did not and why."""
    chosen = _parser().parse_args(arguments)
    if find_spec("torch") is None:
        raise InputError("replaying needs torch: pip install 'haversack[trainer]'")
    address, environment, options = _source(chosen)
    command = [sys.executable, "-m", "haversack_trainer.main", "replay", address, *options]
    command += [] if chosen.to is None else ["--to", str(chosen.to)]
    command += [] if chosen.output is None else ["--output", str(chosen.output)]
    command += [] if chosen.base is None else ["--base", chosen.base]
    code = subprocess.run(command, env=os.environ | environment, check=False).returncode  # noqa: S603
    return code if code >= 0 else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program("replay"), description=ABOUT)
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a job's file, the name of a FineTuneJob, its folder in its store (s3://bucket/prefix/job, "
        "file:///path/job), or the address of an adapter that it published",
    )
    parser.add_argument("--to", type=_rounds, metavar="ROUND", help="stop after so many rounds")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write the adapter there")
    parser.add_argument("--base", metavar="URI", help="take the base model from here")
    parser.add_argument("--s3-endpoint", metavar="URL", help="an S3-compatible server's address")
    found.add_places(parser)
    return parser


def _rounds(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds")
    return int(text)


def _source(chosen: argparse.Namespace) -> tuple[str, dict[str, str], list[str]]:
    """Address, credentials and options of the trainer's program. Raises ``InputError``."""
    if "://" in chosen.run:
        return chosen.run, {}, _endpoint(chosen.s3_endpoint, None)
    if Path(chosen.run).is_file():
        document = jobfile.read(Path(chosen.run), chosen.state_dir)
        return _of_job(document.job, next(iter(document.secrets), None), chosen)
    wanted = argparse.Namespace(
        job=chosen.run,
        state_dir=chosen.state_dir,
        namespace=chosen.namespace,
        context=chosen.context,
    )
    where = found.where(wanted)
    job = where.job()
    name = job["spec"]["storage"].get("s3", {}).get("secretRef", {}).get("name")
    secret = None
    if name is not None:
        local = where.local() is not None
        secret = (
            jobfile.secret_of(job, name) if local else where.kubectl_json("get", "secret", name)
        )
    return _of_job(job, secret, chosen)


def _of_job(
    job: Mapping[str, Any], secret: Mapping[str, Any] | None, chosen: argparse.Namespace
) -> tuple[str, dict[str, str], list[str]]:
    storage = job["spec"]["storage"]
    if storage["uri"].startswith("pvc://"):
        raise InputError(
            f"the log is in a claim of the cluster, at {storage['uri']}; mount it and give the folder as file:///path"
        )
    s3 = storage.get("s3", {})
    credentials = {key: value.decode() for key, value in decoded(secret).items()} if secret else {}
    address = f"{storage['uri'].rstrip('/')}/{job['metadata']['name']}"
    return (
        address,
        credentials,
        _endpoint(chosen.s3_endpoint or s3.get("endpoint"), s3.get("region")),
    )


def _endpoint(endpoint: str | None, region: str | None) -> list[str]:
    options = [] if endpoint is None else ["--s3-endpoint", endpoint]
    return options + ([] if region is None else ["--s3-region", region])
