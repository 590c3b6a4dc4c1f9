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
from haversack_trainer.contract.adapter import AdapterType
from haversack_trainer.contract.membership import Identity
from haversack_trainer.data import DataError, NoSpace, Samples, Split, read, resolve, split
from haversack_trainer.model import FineTuned, ModelError, load_model
from haversack_trainer.objects.base import Away, Store, StoreError
from haversack_trainer.objects.opening import open_store
from haversack_trainer.sharding import InParts, ShardingError, World
from haversack_trainer.sharding.opening import Loading, Sharding, open_forwards, open_shards

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
    shards: InParts | None = None
    """Where the pod's processes share the model out."""
    world: World | None = None
    """Where the method will share it out itself: the pod's processes, more than one."""


def prepare(config: PeerConfig, environ: Mapping[str, str], world: World | None = None) -> Material:
    """``world``: the pod's processes. Raises ``BadJob`` for what would fail again, ``NoSpace`` and ``Away`` for
    what might not."""
    try:
        store = _store(config, environ)
        if world is not None:
            world.first_then_others(lambda: _fetch_all(config, environ))
        samples, parts = _data(config, environ)
        model, shards, identity = _model(config, environ, samples, parts, world)
    except (NoSpace, Away):
        raise
    except (DataError, ModelError, StoreError, ShardingError) as error:
        raise BadJob(str(error)) from error
    _logger.info("model on %s, %d samples", model.device, len(samples))
    is_served = world is not None and world.size > 1 and config.card.serves is not None
    return Material(model, samples, parts, store, identity, shards, world if is_served else None)


def _store(config: PeerConfig, environ: Mapping[str, str]) -> Store:
    storage = config.job.storage
    store = open_store(f"{storage.uri.rstrip('/')}/{config.job.job}", storage.s3, environ)
    store.probe()
    if config.peer == 0 and config.process == 0:
        sweep(store)
    return store


def _data(config: PeerConfig, environ: Mapping[str, str]) -> tuple[Samples, Split]:
    job, spec, held_out = config.job, config.job.dataset, None
    samples = read(spec, _find(spec.uri, config, environ), job.model.task)
    if spec.held_out.uri is not None:
        path = _find(spec.held_out.uri, config, environ)
        held_out = read(spec, path, job.model.task, samples.classes)
    return samples, split(samples, spec, job.num_peers, job.training.seed, held_out)


def _model(
    config: PeerConfig,
    environ: Mapping[str, str],
    samples: Samples,
    parts: Split,
    world: World | None,
) -> tuple[FineTuned, InParts | None, Identity]:
    """Who the peer is, is found out before the weights are in parts."""
    spec = config.job.model
    path = _find(spec.uri, config, environ, revision=spec.revision)
    if world is None or config.card.serves is not None:
        model = load_model(config.job, path, samples.classes)
        return model, None, _identity(config, model, parts)
    sharding = Sharding.of(config.settings)
    loading = Loading(sharding, whole_model=config.job.adapter.type is AdapterType.FULL)
    model = load_model(config.job, path, samples.classes, loading.whole)
    identity = _identity(config, model, parts)
    if not config.card.needs_backward:
        return model, open_forwards(model, world), identity
    return model, open_shards(model, world, sharding), identity


def _fetch_all(config: PeerConfig, environ: Mapping[str, str]) -> bool:
    """Into the cache, by one process for all."""
    model, data = config.job.model, config.job.dataset
    _find(model.uri, config, environ, revision=model.revision)
    for uri in (data.uri, data.held_out.uri):
        if uri is not None:
            _find(uri, config, environ)
    return True


def _find(
    uri: str, config: PeerConfig, environ: Mapping[str, str], revision: str | None = None
) -> Path:
    opener = partial(open_store, s3=config.job.storage.s3, environ=environ)
    return resolve(uri, cache_dir=config.cache_dir, open_store=opener, revision=revision)


def _identity(config: PeerConfig, model: FineTuned, parts: Split) -> Identity:
    """What the run's peers must have in common."""
    settings = config.settings.model_dump(mode="json", by_alias=True)
    schedule = config.job.training.schedule
    if schedule.is_steady:
        course = ""
    else:
        course = f" {schedule.kind} {schedule.warm_up_percent} % of {schedule.num_rounds} rounds"
    return Identity(
        base_model=model.base_digest(),
        adapter=model.adapter_text(),
        trainables=model.trainables_digest(),
        method=f"{config.card.type} {json.dumps(settings, sort_keys=True)}{course}",
        seed=str(config.job.training.seed),
        data=parts.digest,
    )
