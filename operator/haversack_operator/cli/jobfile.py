"""The file that a person hands to ``haversack run``: a FineTuneJob, and Secrets where it needs them."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.api.choice import resolved
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.job import JobSpec
from haversack_operator.api.parse import parse_spec
from haversack_operator.api.schema import without_nulls
from haversack_operator.cluster.documents import DocumentError, Limits, read_documents

from .metadata import fault
from .words import InputError

CREDENTIALS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
CLAIM: Final = re.compile(r"^pvc://([^/]+)")
CLAIMS: Final = "claims"
HERE: Final = "file://./"
ANNOTATION_FILE: Final = f"{names.GROUP}/file"
"""On a job of this machine: the file that it came from, where its Secrets are."""
ANNOTATION_STATE: Final = f"{names.GROUP}/state-dir"
"""On a job of this machine: where it is kept, as it was typed."""
LIMITS: Final = Limits(size_bytes=2 * 2**20, values=50_000)
"""An API server takes no object of more than 1.5 MiB."""


@dataclass(frozen=True, slots=True)
class JobDocument:
    """What was read."""

    job: dict[str, Any]
    secrets: tuple[dict[str, Any], ...] = ()


def read(path: Path, state_dir: Path) -> JobDocument:
    """The one job of a file as it runs on this machine, checked as the API server would.

    ``file://./x`` is next to the file, ``pvc://claim/x`` is one below ``state_dir``, and a Secret with
    S3 credentials that the file does not have is made from the environment. Raises ``InputError``.
    """
    documents = _documents(path)
    job = _at_home(
        _only_job(path, documents), path.resolve().parent, (state_dir / CLAIMS).resolve()
    )
    spec = _checked(path, job)
    namespace = job["metadata"].get("namespace", "default")
    given = (body for body in documents if body.get("kind") == "Secret")
    secrets = [_in_namespace(secret, namespace) for secret in given]
    wanted = spec.storage.s3.secret_ref
    if wanted and wanted.name not in {secret["metadata"]["name"] for secret in secrets}:
        secrets.append(_from_environment(wanted.name, namespace, os.environ))
    return JobDocument(_marked(job, path, state_dir), tuple(secrets))


def read_spec(path: Path) -> JobSpec:
    """What the one job of a file asks for, as it stands there, for who runs nothing. Raises ``InputError``."""
    job = _only_job(path, _documents(path))
    return _parsed(path, _at_home(job, path.resolve().parent, Path(CLAIMS).resolve()))


def origin(job: Mapping[str, Any], annotation: str) -> str | None:
    """Where a job of this machine came from; None for one of a cluster."""
    found: str | None = job["metadata"].get("annotations", {}).get(annotation)
    return found


def secret_of(job: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A Secret of this machine's job: from the job's file, or from the environment."""
    file = Path(origin(job, ANNOTATION_FILE) or "")
    try:
        secrets = read(file, file.parent).secrets
    except InputError:
        return None
    return next((each for each in secrets if each["metadata"]["name"] == name), None)


def _marked(job: dict[str, Any], path: Path, state_dir: Path) -> dict[str, Any]:
    metadata = job["metadata"]
    origin = {ANNOTATION_FILE: str(path.resolve()), ANNOTATION_STATE: str(state_dir)}
    annotations = {**metadata.get("annotations", {}), **origin}
    return {**job, "metadata": {**metadata, "annotations": annotations}}


def _only_job(path: Path, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    jobs = [body for body in documents if body.get("kind") == names.JOB_KIND]
    if len(jobs) != 1:
        kinds = ", ".join(str(body.get("kind")) for body in documents) or "nothing"
        raise InputError(f"{path}: one {names.JOB_KIND} is wanted; the file has {kinds}")
    return jobs[0]


def _checked(path: Path, job: Mapping[str, Any]) -> JobSpec:
    """The spec, with a method."""
    spec = _parsed(path, job)
    try:
        return resolved(spec)[0]
    except InvalidSpec as error:
        raise InputError(f"{path}: {error}") from error


def _parsed(path: Path, job: Mapping[str, Any]) -> JobSpec:
    try:
        spec = parse_spec(job)
    except InvalidSpec as error:
        raise InputError(f"{path}: {error}") from error
    _refuse(path, [job])
    return spec


def _at_home(value: Any, base: Path, claims: Path) -> Any:
    """The same, with every address that means something else on this machine."""
    if isinstance(value, Mapping):
        return {name: _at_home(inner, base, claims) for name, inner in value.items()}
    if isinstance(value, str) and value.startswith(HERE):
        return f"file://{(base / value.removeprefix(HERE)).resolve()}"
    if isinstance(value, str):
        return CLAIM.sub(lambda found: f"file://{claims}/{found[1]}", value)
    return value


def _documents(path: Path) -> list[dict[str, Any]]:
    """All of them, as the API server stores them: without what is null."""
    try:
        found = read_documents(path, LIMITS, f"a {names.JOB_KIND}")
    except DocumentError as error:
        raise InputError(str(error)) from error
    bodies = [_object(body) for body in found]
    _refuse(path, (body for body in bodies if body.get("kind") == "Secret"))
    return bodies


def _object(body: object) -> dict[str, Any]:
    plain = without_nulls(body)
    return plain if isinstance(plain, dict) else {"kind": type(body).__name__}


def _refuse(path: Path, bodies: Iterable[Mapping[str, Any]]) -> None:
    for body in bodies:
        if (said := fault(body)) is not None:
            raise InputError(f"{path}: {body['kind']}: {said}")


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
