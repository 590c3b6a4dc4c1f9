"""``haversack report``: where a job's report is, fetched if it is in S3."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from haversack_operator.cluster.local_launch import decoded
from haversack_operator.cluster.local_state import finished

from . import found, jobfile
from .words import DONE, InputError, program

ABOUT: Final = "Prints where a job's report is; one that is in S3 is fetched first."
FILE: Final = "report.html"
"""As the trainer writes it to the job's folder in its store."""


def main(arguments: Sequence[str]) -> int:
    """Print the report's path; exit code 0 done, 2 there is none."""
    parser = argparse.ArgumentParser(prog=program("report"), description=ABOUT)
    parser.add_argument("-o", "--output", type=Path, help="file for a report that is in S3")
    parser.add_argument("--open", action="store_true", help="show it in a browser")
    where, chosen = found.parse(parser, arguments)
    job = where.job()
    path = _local(where, job, chosen.output or Path(f"{where.name}-report.html")).resolve()
    print(path)
    if chosen.open:
        webbrowser.open(path.as_uri())
    return DONE


def is_there(job: Mapping[str, Any]) -> bool:
    """Whether a run that has ended left one: a folder can be looked at, a bucket is believed."""
    scheme, _, rest = _uri(job).partition("://")
    return Path(rest).exists() if scheme == "file" else "verdict" in job.get("status", {})


def _uri(job: Mapping[str, Any]) -> str:
    return f"{job['spec']['storage']['uri'].rstrip('/')}/{job['metadata']['name']}/{FILE}"


def _local(where: found.Where, job: Mapping[str, Any], output: Path) -> Path:
    """The report as a file of this machine. Raises ``InputError``."""
    uri = _uri(job)
    scheme, _, rest = uri.partition("://")
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        _download(where, job, (bucket, key), output)
        return output
    path = Path(rest)
    if scheme != "file" or not path.exists():
        raise InputError(_nowhere(where, job, uri))
    return path


def _nowhere(where: found.Where, job: Mapping[str, Any], uri: str) -> str:
    if uri.startswith("pvc://"):
        return f"the report is in a claim of the cluster, at {uri}; mount it to read it"
    if not finished(job):
        return f"{where.name} has no report yet: it is written when the run ends"
    return f"there is no report at {uri}; was the run ever trained to its end on this machine?"


def _download(
    where: found.Where, job: Mapping[str, Any], source: tuple[str, str], output: Path
) -> None:
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise InputError(
            "reading a report from S3 needs boto3: pip install 'haversack[trainer]'"
        ) from error
    s3 = job["spec"]["storage"].get("s3", {})
    secret = _secret(where, job, s3)
    client = boto3.client(
        "s3",
        endpoint_url=s3.get("endpoint"),
        region_name=s3.get("region", "us-east-1"),
        aws_access_key_id=secret.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=secret.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=secret.get("AWS_SESSION_TOKEN"),
    )
    fresh = output.with_name(f"{output.name}.part")
    try:
        client.download_file(*source, str(fresh))
    except (BotoCoreError, ClientError) as error:
        uri = "s3://" + "/".join(source)
        raise InputError(f"{uri} cannot be read: {error}; has the run ended?") from error
    fresh.replace(output)


def _secret(where: found.Where, job: Mapping[str, Any], s3: Mapping[str, Any]) -> dict[str, str]:
    """The job's Secret. Where this machine has none, boto3 looks in its usual places."""
    name = s3.get("secretRef", {}).get("name")
    if name is None:
        return {}
    if where.local() is not None:
        secret = jobfile.secret_of(job, name)
    else:
        secret = where.kubectl_json("get", "secret", name)
    return {key: value.decode() for key, value in decoded(secret).items()} if secret else {}
