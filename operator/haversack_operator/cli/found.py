"""Where a job is that a person names: in a state folder of this machine, or in a cluster."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.api.faults import quote
from haversack_operator.api.job import NAME_PATTERN, NAME_WORDS
from haversack_operator.cluster.local_state import Saved, StateError, StateFile

from .words import STATE_DIR, InputError

RESOURCE: Final = f"{names.JOB_PLURAL}.{names.GROUP}"
KUBECTL_PREFIX: Final = re.compile(r"^(Error from server( \(\w+\))?|error): ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Where:
    """Which job."""

    name: str
    state_dir: Path
    namespace: str | None
    context: str | None

    @property
    def folder(self) -> Path:
        return self.state_dir / self.name

    def local(self) -> dict[str, Any] | None:
        """The job of this machine, unless a namespace or context says that a cluster's is meant."""
        saved = self.saved()
        return saved.job if saved else None

    def saved(self) -> Saved | None:
        """The same, with its plans."""
        if self.namespace or self.context:
            return None
        try:
            return StateFile(self.folder).read()
        except StateError as error:
            raise InputError(str(error)) from error

    def job(self) -> dict[str, Any]:
        """The job, of this machine or of the cluster. Raises ``InputError`` if there is none."""
        if (job := self.local()) is not None:
            return job
        try:
            return self.kubectl_json("get", RESOURCE, self.name)
        except InputError as error:
            if self.namespace or self.context:
                raise
            raise InputError(
                f"there is no job {self.name} in {self.state_dir}; in a cluster: {error}"
            ) from error

    def kubectl_json(self, *arguments: str) -> dict[str, Any]:
        """What kubectl prints as JSON. Raises ``InputError`` with kubectl's own words."""
        found: dict[str, Any] = json.loads(self.kubectl(*arguments, "-o", "json"))
        return found

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints. Raises ``InputError``."""
        scope = ["--namespace", self.namespace] if self.namespace else []
        scope += ["--context", self.context] if self.context else []
        try:
            done = subprocess.run(  # noqa: S603
                ["kubectl", *arguments, *scope],  # noqa: S607  the person's own kubectl
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise InputError("there is no kubectl to look there") from error
        if done.returncode:
            # What precedes the last line is the client library's log.
            *_, last = done.stderr.strip().splitlines() or ["kubectl failed"]
            raise InputError(KUBECTL_PREFIX.sub("", last))
        return done.stdout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """JOB and where to look for it."""
    parser.add_argument("job", metavar="JOB", help="name of a FineTuneJob")
    add_places(parser)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where to look for a job."""
    parser.add_argument("-n", "--namespace", help="look in this namespace of the cluster")
    parser.add_argument("--context", help="look in the cluster of this kubeconfig context")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=STATE_DIR,
        metavar="DIR",
        help="where 'run' keeps the jobs of this machine (default: %(default)s)",
    )


def where(chosen: argparse.Namespace) -> Where:
    """What ``add_arguments`` took in. Raises ``InputError`` if no job can have that name."""
    if not re.fullmatch(NAME_PATTERN, chosen.job, re.ASCII):
        raise InputError(
            f"{quote(chosen.job)} is no name of a {names.JOB_KIND}; it has {NAME_WORDS}"
        )
    return Where(chosen.job, chosen.state_dir, chosen.namespace, chosen.context)


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[Where, argparse.Namespace]:
    """JOB with the command's own options."""
    add_arguments(parser)
    chosen = parser.parse_args(arguments)
    return where(chosen), chosen
