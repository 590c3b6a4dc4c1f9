"""The file that a person hands to ``haversack run``: a FineTuneJob, and Secrets where it needs them."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from haversack_operator.api import names
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.parse import parse_spec

from .words import InputError

CREDENTIALS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
CLAIM: Final = re.compile(r"pvc://([^/]+)")
HERE: Final = "file://./"


@dataclass(frozen=True, slots=True)
class JobDocument:
    """What was read."""

    job: dict[str, Any]
    secrets: tuple[dict[str, Any], ...] = ()


def read(path: Path) -> JobDocument:
    """The one job of a file, checked as the API server would. Raises ``InputError``."""
    documents = list(_documents(path))
    jobs = [body for body in documents if body.get("kind") == names.JOB_KIND]
    secrets = tuple(body for body in documents if body.get("kind") == "Secret")
    if len(jobs) != 1:
        kinds = ", ".join(str(body.get("kind")) for body in documents) or "nothing"
        raise InputError(f"{path}: one {names.JOB_KIND} is wanted; the file has {kinds}")
    try:
        parse_spec(jobs[0])
    except InvalidSpec as error:
        raise InputError(f"{path}: {error}") from error
    return JobDocument(jobs[0], secrets)


def at_home(document: JobDocument, base: Path, claims: Path) -> JobDocument:
    """The document as it runs on this machine.

    ``file://./x`` is next to the job's file in ``base``, ``pvc://claim/x`` is a folder below
    ``claims``, and a Secret with S3 credentials that the file does not have is made from the
    environment. Raises ``InputError`` if it is in neither.
    """

    def localised(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: localised(inner) for name, inner in value.items()}
        if isinstance(value, str) and value.startswith(HERE):
            return f"file://{(base / value.removeprefix(HERE)).resolve()}"
        if isinstance(value, str):
            return CLAIM.sub(lambda found: f"file://{claims.resolve()}/{found[1]}", value)
        return value

    parts = ("model", "dataset", "storage")
    spec = {**document.job["spec"]}
    spec |= {part: localised(spec[part]) for part in parts if part in spec}
    namespace = document.job["metadata"].get("namespace", "default")
    secrets = [_in_namespace(secret, namespace) for secret in document.secrets]
    wanted = spec["storage"].get("s3", {}).get("secretRef", {}).get("name")
    if wanted is not None and wanted not in {secret["metadata"]["name"] for secret in secrets}:
        secrets.append(_from_environment(wanted, namespace, os.environ))
    return JobDocument({**document.job, "spec": spec}, tuple(secrets))


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    try:
        for body in yaml.safe_load_all(path.read_text()):
            if body is not None:
                yield body if isinstance(body, dict) else {"kind": type(body).__name__}
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a file with a FineTuneJob") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {_where(error)}") from error


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it is not text"
    return problem if mark is None else f"{problem}, line {mark.line + 1}"


def _in_namespace(secret: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    return {**secret, "metadata": {"namespace": namespace, **secret["metadata"]}}


def _from_environment(name: str, namespace: str, environment: Mapping[str, str]) -> dict[str, Any]:
    found = {key: environment[key] for key in CREDENTIALS if key in environment}
    if not found.keys() >= set(CREDENTIALS[:2]):
        raise InputError(
            f"spec.storage.s3.secretRef: there is no Secret {name} here; add it to the job's file, "
            f"or set {CREDENTIALS[0]} and {CREDENTIALS[1]}"
        )
    data = {key: base64.b64encode(value.encode()).decode() for key, value in found.items()}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}
