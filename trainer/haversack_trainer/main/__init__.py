"""The composition root: ``haversack-trainer peer|hub|replay``. The only room that names concrete things.

Peer and hub are told everything by the job file and the environment (``contract/environment.py``), and all say
how they ended by their exit code (``contract/exits.py``).
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from haversack_trainer.config import load_peer
from haversack_trainer.contract.exits import ExitCode
from haversack_trainer.contract.spec import S3Spec
from haversack_trainer.pod.start import die_with_parent, run_processes

from .endings import ending
from .machine import num_threads, stop_on_signals

__all__ = ["main"]

_logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process."""
    chosen = _parser().parse_args(arguments)
    _set_up_logging()
    try:
        chosen.command(os.environ, chosen)
    except Exception as error:  # noqa: BLE001  # nobody else can turn it into an exit code
        code, word = ending(error)
        _say(error, word)
        sys.exit(code)
    sys.exit(ExitCode.DONE)


def _peer(environ: Mapping[str, str], _chosen: argparse.Namespace) -> None:
    stop = stop_on_signals()
    # Their progress bars and hints are for people at a terminal; pods' logs want lines.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    config = load_peer(environ)
    if config.processes is not None and config.meeting is None:
        threads = num_threads(environ)
        code = run_processes(config.processes, config.work_dir, environ, stop, threads=threads)
        sys.exit(code)
    if config.meeting is not None:
        die_with_parent()
    # torch and its libraries take seconds to import: a job that does not parse is told so at once.
    from .peer import run_peer

    run_peer(config, environ, stop)


def _hub(environ: Mapping[str, str], _chosen: argparse.Namespace) -> None:
    # No torch on this path: the hub starts at once and stays small.
    from .hub import run_hub

    run_hub(environ)


def _replay(environ: Mapping[str, str], chosen: argparse.Namespace) -> None:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from haversack_trainer.checkpoint.replay import CannotReplay

    from .replay import Order, replay

    s3 = S3Spec(endpoint=chosen.s3_endpoint, region=chosen.s3_region)
    order = Order(chosen.run, chosen.to, chosen.output, chosen.base, s3)
    try:
        replay(order, environ, _tell)
    except CannotReplay as error:
        sys.stderr.write(f"haversack replay: {error}\n")
        sys.exit(ExitCode.BAD_JOB)


def _tell(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="haversack-trainer",
        description="One process of a Haversack run. Usually started by the operator or by `haversack run`.",
        epilog="Settings come from the job file at $HAVERSACK_JOB_FILE and other HAVERSACK_* variables. "
        "Exit codes: 0 done, 1 crashed, 2 the job cannot work, 42 the node is unfit, 75 stopped and saved.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    peer = commands.add_parser("peer", help="train on this peer's data until the run is over")
    peer.set_defaults(command=_peer)
    hub = commands.add_parser("hub", help="keep the run log that the peers meet at")
    hub.set_defaults(command=_hub)
    _add_replay(commands.add_parser("replay", help="make a run's adapter again, from its log"))
    return parser


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Makes the adapter of a run whose method's log is its adapter (SPSA) from the base model and the log, "
        "checks every hash on the way, and the adapter against the published one."
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a job's folder in its store, e.g. s3://bucket/prefix/job, or an adapter published there",
    )
    parser.add_argument("--to", type=int, metavar="ROUND", help="stop after so many rounds")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write the adapter there")
    parser.add_argument("--base", metavar="URI", help="take the base model from here")
    parser.add_argument("--s3-endpoint", metavar="URL", help="an S3-compatible server's address")
    parser.add_argument("--s3-region", metavar="NAME", default="us-east-1", help="its region")
    parser.set_defaults(command=_replay)


def _set_up_logging() -> None:
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("haversack_trainer").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


def _say(error: Exception, word: str | None) -> None:
    if word is None:
        _logger.error("an error that nobody foresaw", exc_info=error)
    else:
        _logger.error("%s", word)
