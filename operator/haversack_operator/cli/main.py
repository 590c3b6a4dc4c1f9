"""``haversack`` and ``kubectl finetune``: which command, and nothing else, so that it starts at once."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final

from .words import BAD_INPUT, FAILED, INTERRUPTED, InputError, program

MAX_SAID: Final = 200

COMMANDS: Final = {
    "run": "train a job on this machine",
    "plan": "show where a job's peers would go, and why",
    "watch": "follow a job: peers, round, loss, bytes, time left",
    "report": "show or fetch a job's report",
    "replay": "make a run's adapter again from its log (SPSA), and check it",
    "approve": "let an adapter that passed its gate be published",
    "generate": "for developers of Haversack: write CRDs, the chart's copy and settings tables",
}
"""Each is a module of this room with ``main(arguments) -> exit code``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.command is None:
        parser.print_help()
        return BAD_INPUT
    try:
        module = import_module(f"{__package__}.{chosen.command}")
        code: int = module.main(chosen.arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has seen enough, like "head"; what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except InputError as error:
        return _refused(chosen.command, str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last resort: nobody is to read a traceback
        return _refused(chosen.command, _unexpected(error), FAILED)
    return code


def _refused(command: str, sentence: str, code: int) -> int:
    print(f"{program(command)}: {sentence}", file=sys.stderr)
    return code


def _unexpected(error: Exception) -> str:
    """One sentence, and where the rest of it is."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="haversack-", suffix=".txt", delete=False, errors="backslashreplace"
    ) as file:
        traceback.print_exception(error, file=file)
    said = " ".join(str(error).split())[:MAX_SAID]
    return (
        f"this is a fault of Haversack's ({type(error).__name__}: {said}); please report it with "
        f"the file {file.name}"
    )


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
    parser.add_argument(
        "command", choices=COMMANDS, nargs="?", metavar="COMMAND", help=argparse.SUPPRESS
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
