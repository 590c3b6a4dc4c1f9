"""The composition root: ``haversack-trainer peer|hub``. The only room that names concrete things.

Both commands are told everything by the job file and the environment (``contract/environment.py``), and say
how they ended by their exit code (``contract/exits.py``).
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence

from haversack_trainer.config import load_peer
from haversack_trainer.contract.exits import ExitCode

from .endings import ending
from .machine import stop_on_signals

__all__ = ["main"]

_logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process."""
    command = _parser().parse_args(arguments).command
    _set_up_logging()
    try:
        command(os.environ)
    except Exception as error:  # noqa: BLE001  # nobody else can turn it into an exit code
        code, word = ending(error)
        _say(error, word)
        sys.exit(code)
    sys.exit(ExitCode.DONE)


def _peer(environ: Mapping[str, str]) -> None:
    stop = stop_on_signals()
    # Their progress bars and hints are for people at a terminal; pods' logs want lines.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    config = load_peer(environ)
    # torch and its libraries take seconds to import: a job that does not parse is told so at once.
    from .peer import run_peer

    run_peer(config, environ, stop)


def _hub(environ: Mapping[str, str]) -> None:
    # No torch on this path: the hub starts at once and stays small.
    from .hub import run_hub

    run_hub(environ)


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
    return parser


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
