"""The file that a person hands to ``haversack run``: a FineTuneJob, and Secrets where it needs them."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from haversack_operator.api import names
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.job import JobSpec
from haversack_operator.api.parse import parse_spec

from .words import InputError

CREDENTIALS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
CLAIM: Final = re.compile(r"^pvc://([^/]+)")
HERE: Final = "file://./"


@dataclass(frozen=True, slots=True)
class JobDocument:
    """What was read."""

    job: dict[str, Any]
    secrets: tuple[dict[str, Any], ...] = ()


def read(path: Path, claims: Path) -> JobDocument:
    """The one job of a file as it runs on this machine, checked as the API server would.

    ``file://./x`` is next to the file, ``pvc://claim/x`` is a folder below ``claims``, and a Secret with
    S3 credentials that the file does not have is made from the environment. Raises ``InputError``.
    """
    documents = list(_documents(path))
    job = _at_home(_only_job(path, documents), path.resolve().parent, claims.resolve())
    spec = _checked(path, job)
    namespace = job["metadata"].get("namespace", "default")
    given = (body for body in documents if body.get("kind") == "Secret")
    secrets = [_in_namespace(secret, namespace) for secret in given]
    wanted = spec.storage.s3.secret_ref
    if wanted and wanted.name not in {secret["metadata"].get("name") for secret in secrets}:
        secrets.append(_from_environment(wanted.name, namespace, os.environ))
    return JobDocument(job, tuple(secrets))


def read_spec(path: Path) -> JobSpec:
    """What the one job of a file asks for, for who runs nothing. Raises ``InputError``."""
    job = _only_job(path, list(_documents(path)))
    return _checked(path, _at_home(job, path.resolve().parent, Path("claims").resolve()))


def _only_job(path: Path, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    jobs = [body for body in documents if body.get("kind") == names.JOB_KIND]
    if len(jobs) != 1:
        kinds = ", ".join(str(body.get("kind")) for body in documents) or "nothing"
        raise InputError(f"{path}: one {names.JOB_KIND} is wanted; the file has {kinds}")
    return jobs[0]


def _checked(path: Path, job: Mapping[str, Any]) -> JobSpec:
    try:
        return parse_spec(job)
    except InvalidSpec as error:
        raise InputError(f"{path}: {error}") from error


def _at_home(value: Any, base: Path, claims: Path) -> Any:
    """The same, with every address that means something else on this machine."""
    if isinstance(value, Mapping):
        return {name: _at_home(inner, base, claims) for name, inner in value.items()}
    if isinstance(value, str) and value.startswith(HERE):
        return f"file://{(base / value.removeprefix(HERE)).resolve()}"
    if isinstance(value, str):
        return CLAIM.sub(lambda found: f"file://{claims}/{found[1]}", value)
    return value


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
    return {**secret, "metadata": {"namespace": namespace, **secret.get("metadata", {})}}


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
