"""Jobs of this machine as the commands find them, and a kubectl that answers what it is told."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from haversack_operator.cluster.local_state import StateFile

SPEC: dict[str, Any] = {
    "model": {"uri": "file:///m", "task": "SequenceClassification"},
    "dataset": {"uri": "file:///d.jsonl"},
    "method": {"type": "SPSA"},
    "pools": [{"name": "cpu"}],
    "storage": {"uri": "file:///nowhere"},
}


META = {
    "name": "mine",
    "namespace": "default",
    "uid": "u-1",
    "generation": 1,
    "creationTimestamp": "2026-01-01T00:00:00Z",
}


def a_job(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "haversack.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": META,
        "spec": {**SPEC, **changes},
        "status": {},
    }


def keep(folder: Path, job: Mapping[str, Any]) -> Path:
    StateFile(folder / "mine").write(job, [])
    return folder


def condition(kind: str, reason: str = "Done", message: str = "", value: str = "True") -> Any:
    return {
        "type": kind,
        "status": value,
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": reason,
        "message": message,
    }


def over(kind: str) -> dict[str, Any]:
    return {"conditions": [condition(kind)]}


def a_kubectl(folder: Path, answers: Mapping[str, Any]) -> Path:
    """A program that answers like kubectl, and writes down what it was asked."""
    path = folder / "kubectl"
    path.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"open({str(folder / 'asked')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"answers = json.loads({json.dumps(dict(answers))!r})\n"
        "known = [answer for words, answer in answers.items() if words in ' '.join(sys.argv)]\n"
        "if not known: sys.exit('E1126 noise of a library\\nError from server (NotFound): not found')\n"
        "print(json.dumps(known[0]))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def a_file(folder: Path, **changes: Any) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({**a_job(**changes), "metadata": {"name": "mine"}}))
    return path
