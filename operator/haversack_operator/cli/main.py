"""``haversack`` and ``kubectl finetune``: which command, and nothing else, so that it starts at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final

from .words import BAD_INPUT, InputError, program

COMMANDS: Final = {
    "run": "train a job on this machine",
    "plan": "show where a job's peers would go, and why",
    "watch": "follow a job: peers, round, loss, bytes, time left",
    "report": "show or fetch a job's report",
    "approve": "let an adapter that passed its gate be published",
    "generate": "write CRDs, the chart's copy and settings tables (for developers)",
}
"""Each is a module of this room with ``main(arguments) -> exit code``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    chosen = _parser().parse_args(arguments)
    module = import_module(f"{__package__}.{chosen.command}")
    try:
        code: int = module.main(chosen.arguments)
    except InputError as error:
        print(f"{program(chosen.command)}: {error}", file=sys.stderr)
        return BAD_INPUT
    return code


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS)) + 2
    table = "\n".join(f"  {name:{width}}{words}" for name, words in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=program(),
        usage=f"{program()} COMMAND …",
        description="Fine-tunes models with LoRA on the machines you already own.",
        epilog=f"commands:\n{table}\n\n'{program('COMMAND')} --help' tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"haversack {version('haversack')}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
