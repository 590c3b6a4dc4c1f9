"""The hub's process."""

from __future__ import annotations

from collections.abc import Mapping

from haversack_trainer.config import load_hub
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.hub.serve import HubSettings, run


def has_all_blobs(job: JobFile) -> bool:
    """Whether what peers send beside the log goes over the hub; with ``bulk: Direct`` it need not."""
    return METHODS[job.method.type].sends_blobs and not job.network.is_direct


def run_hub(environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM. Raises ``ConfigError``, ``HubError``."""
    config = load_hub(environ)
    settings = HubSettings(
        run=config.job.run,
        folder=config.work_dir,
        tls_dir=config.tls_dir,
        host=config.host,
        port=config.port,
        rounds=config.job.training.rounds,
        lease_seconds=float(config.job.heartbeat_timeout_seconds),
        awaits_log=config.awaits_log,
        needs_approval=config.job.evaluation.gate.needs_approval,
        deadline_seconds=config.job.training.round_deadline_seconds,
        has_all_blobs=has_all_blobs(config.job),
    )
    run(settings)
