"""The two kinds of process: a peer and the hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from haversack_trainer.contract import environment as env
from haversack_trainer.contract.cards import METHODS, MethodCard, MethodSettings
from haversack_trainer.contract.jobfile import JobFile

from .checks import check_job
from .errors import ConfigError, nearest, parse

MAX_JOB_BYTES: Final = 2 * 2**20
"""A ConfigMap holds at most 1 MiB."""
MAX_PORT: Final = 65_535
MAX_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """Everything a peer is told from outside."""

    job: JobFile
    card: MethodCard
    settings: MethodSettings
    peer: int
    attempt: int
    node: str
    micro_batch_size: int
    hub_url: str
    hub_name: str
    tls_dir: Path
    work_dir: Path
    cache_dir: Path
    address: str = ""
    """Where other peers reach this one, if blobs go from pod to pod."""
    processes: int | None = None
    """Of this peer's pod, which share its model out; None where there is one, with the whole of it."""
    process: int = 0
    """This one; the first is the peer."""
    meeting: Path | None = None
    """Where the pod's processes find one another; None in the program that starts them."""


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Everything the hub is told from outside."""

    job: JobFile
    awaits_log: bool
    """Peers hold the run's log: an empty disk means that it was lost."""
    host: str
    port: int
    tls_dir: Path
    work_dir: Path


def load_peer(environ: Mapping[str, str]) -> PeerConfig:
    """A peer's settings. Raises ``ConfigError``."""
    job = _job(environ)
    card, settings = _method(job)
    url = _required(environ, env.HUB_URL)
    host = urlsplit(url).hostname
    if not url.startswith("https://") or not host:
        raise ConfigError(f"{env.HUB_URL} is {url!r}; it must be https://host:port")
    batch = job.training.batch_size
    micro = _number(environ, env.MICRO_BATCH_SIZE, 1, batch, job.training.micro_batch_size or batch)
    return PeerConfig(
        job=job,
        card=card,
        settings=settings,
        peer=_number(environ, env.PEER, 0, job.num_peers - 1),
        attempt=_number(environ, env.ATTEMPT, 0, 2**31, 0),
        node=environ.get(env.NODE, ""),
        micro_batch_size=micro,
        hub_url=url.rstrip("/"),
        hub_name=environ.get(env.HUB_NAME) or host,
        tls_dir=Path(environ.get(env.TLS_DIR) or env.TLS_MOUNT),
        work_dir=Path(environ.get(env.WORK_DIR) or env.WORK_MOUNT),
        cache_dir=Path(environ.get(env.CACHE_DIR) or env.CACHE_MOUNT),
        address=_required(environ, env.ADDRESS) if job.network.is_direct else "",
        processes=_number(environ, env.PROCESSES, 1, env.MAX_PROCESSES)
        if environ.get(env.PROCESSES)
        else None,
        process=_number(environ, env.PROCESS, 0, env.MAX_PROCESSES - 1, 0),
        meeting=Path(meeting) if (meeting := environ.get(env.MEETING)) else None,
    )


def load_hub(environ: Mapping[str, str]) -> HubConfig:
    """The hub's settings. Raises ``ConfigError``."""
    job = _job(environ)
    _method(job)
    host, port = _address(_required(environ, env.LISTEN))
    return HubConfig(
        job=job,
        awaits_log=environ.get(env.AWAIT_LOG) == "1",
        host=host,
        port=port,
        tls_dir=Path(environ.get(env.TLS_DIR) or env.TLS_MOUNT),
        work_dir=Path(environ.get(env.WORK_DIR) or env.WORK_MOUNT),
    )


def _job(environ: Mapping[str, str]) -> JobFile:
    path = Path(environ.get(env.JOB_FILE) or Path(env.JOB_MOUNT, "job.json"))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JOB_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"the job file {path} cannot be read ({error.strerror}); set {env.JOB_FILE}"
        ) from error
    if len(content) > MAX_JOB_BYTES:
        raise ConfigError(f"the job file {path} is larger than {MAX_JOB_BYTES} bytes; shorten it")
    try:
        values: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the job file {path} is not JSON: {error}; correct it") from error
    job = parse(JobFile, values)
    check_job(job)
    return job


def _method(job: JobFile) -> tuple[MethodCard, MethodSettings]:
    card = METHODS.get(job.method.type)
    if card is None:
        hint = nearest(job.method.type, sorted(METHODS))
        raise ConfigError(f"method.type {job.method.type!r} is not known; {hint}")
    settings = parse(card.load_settings(), job.method.settings, "method.settings")
    fault = settings.fault(job.num_peers) or settings.fault_of_few(job.min_peers)
    if job.dataset.held_out.personal_percent is not None:
        fault = fault or settings.fault_of_scores()
    if fault is not None:
        raise ConfigError(f"method.settings.{fault}")
    return card, settings


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise ConfigError(f"{name} is not set; set it")
    return value


def _number(
    environ: Mapping[str, str], name: str, least: int, most: int, default: int | None = None
) -> int:
    text = environ.get(name) or ("" if default is None else str(default))
    if not text:
        raise ConfigError(f"{name} is not set; set it to a whole number from {least} to {most}")
    if not _is_number(text, least, most):
        raise ConfigError(f"{name} is {text!r}; it must be a whole number from {least} to {most}")
    return int(text)


def _is_number(text: str, least: int, most: int) -> bool:
    """True for a number as it is written: ASCII digits, no leading zeros, few enough for ``int``."""
    plain = text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
    return plain and text == str(int(text)) and least <= int(text) <= most


def _address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6 address]:port``."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not _is_number(port, 0, MAX_PORT):
        raise ConfigError(f"{env.LISTEN} is {text!r}; it must be address:port, e.g. 0.0.0.0:8443")
    return host, int(port)
