"""What a peer trains, on what, and where it keeps it: from the job file's addresses to objects."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from haversack_trainer.checkpoint.sweep import sweep
from haversack_trainer.config import PeerConfig
from haversack_trainer.contract.membership import Identity
from haversack_trainer.data import DataError, NoSpace, Samples, Split, read, resolve, split
from haversack_trainer.model import FineTuned, ModelError, load_model
from haversack_trainer.objects.base import Away, Store, StoreError
from haversack_trainer.objects.opening import open_store

from .endings import BadJob

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that the job file's addresses lead to."""

    model: FineTuned
    samples: Samples
    split: Split
    store: Store
    identity: Identity


def prepare(config: PeerConfig, environ: Mapping[str, str]) -> Material:
    """Raises ``BadJob`` for what would fail again, ``NoSpace`` and ``Away`` for what might not."""
    try:
        store = _store(config, environ)
        samples, parts = _data(config, environ)
        model = _model(config, environ, samples)
    except (NoSpace, Away):
        raise
    except (DataError, ModelError, StoreError) as error:
        raise BadJob(str(error)) from error
    _logger.info("model on %s, %d samples", model.device, len(samples))
    return Material(model, samples, parts, store, _identity(config, model, parts))


def _store(config: PeerConfig, environ: Mapping[str, str]) -> Store:
    storage = config.job.storage
    store = open_store(f"{storage.uri.rstrip('/')}/{config.job.job}", storage.s3, environ)
    store.probe()
    if config.peer == 0:
        sweep(store)
    return store


def _data(config: PeerConfig, environ: Mapping[str, str]) -> tuple[Samples, Split]:
    job, spec, held_out = config.job, config.job.dataset, None
    samples = read(spec, _find(spec.uri, config, environ), job.model.task)
    if spec.held_out.uri is not None:
        path = _find(spec.held_out.uri, config, environ)
        held_out = read(spec, path, job.model.task, samples.classes)
    return samples, split(samples, spec, job.num_peers, job.training.seed, held_out)


def _model(config: PeerConfig, environ: Mapping[str, str], samples: Samples) -> FineTuned:
    spec = config.job.model
    path = _find(spec.uri, config, environ, revision=spec.revision)
    return load_model(config.job, path, samples.classes)


def _find(
    uri: str, config: PeerConfig, environ: Mapping[str, str], revision: str | None = None
) -> Path:
    opener = partial(open_store, s3=config.job.storage.s3, environ=environ)
    return resolve(uri, cache_dir=config.cache_dir, open_store=opener, revision=revision)


def _identity(config: PeerConfig, model: FineTuned, parts: Split) -> Identity:
    """What the run's peers must have in common."""
    settings = config.settings.model_dump(mode="json", by_alias=True)
    return Identity(
        base_model=model.base_digest(),
        adapter=model.adapter_text(),
        trainables=model.trainables_digest(),
        method=f"{config.card.type} {json.dumps(settings, sort_keys=True)}",
        seed=str(config.job.training.seed),
        data=parts.digest,
    )
