"""A peer's process: method, exchange and loop around the prepared model and data."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from haversack_trainer import method
from haversack_trainer.checkpoint.manifest import Meta
from haversack_trainer.config import PeerConfig
from haversack_trainer.contract.report import PeerReport
from haversack_trainer.data import Batches
from haversack_trainer.exchange.base import Exchange, Stop
from haversack_trainer.exchange.carrier import GroupError
from haversack_trainer.exchange.direct import Direct
from haversack_trainer.exchange.http import HttpExchange
from haversack_trainer.loop import Peer, Seat
from haversack_trainer.loop.archiving import Archiving
from haversack_trainer.loop.attended import AttendedBatches, AttendedPieces
from haversack_trainer.loop.chronicle import Chronicle
from haversack_trainer.loop.entry import Entry
from haversack_trainer.loop.finish import Finish
from haversack_trainer.loop.judge import Judge
from haversack_trainer.loop.recorder import Recorder
from haversack_trainer.loop.saves import Saves
from haversack_trainer.loop.stories import Stories
from haversack_trainer.method import Method, Unsuited, check_suited
from haversack_trainer.model import FineTuned
from haversack_trainer.pod.team import Action, dismissing, follow
from haversack_trainer.report.events import EventLog
from haversack_trainer.report.progress import Progress, open_progress

from .endings import BadJob
from .machine import set_up_torch
from .material import Material, prepare
from .pod import follow_first, join, lead
from .room import room_for

_logger = logging.getLogger(__name__)


def run_peer(config: PeerConfig, environ: Mapping[str, str], stop: Stop) -> None:
    """Train until the run is over. Raises what ``endings`` knows."""
    set_up_torch(environ)
    disable_progress_bar()
    world = join(config)
    material = prepare(config, environ, world)
    if world is not None and world.rank:
        if material.world is not None:
            follow(world, _served(config, material))
            return
        make, own = partial(_method, config, material), _batches(config, material)
        follow_first(world, material, make, own, config.card.common_state)
        return
    exchange = HttpExchange(
        config.hub_url,
        hub_name=config.hub_name,
        tls_dir=config.tls_dir,
        run=config.job.run,
        me=config.peer,
        stop=stop,
        needs_approval=config.job.evaluation.gate.needs_approval,
        carrier=_carrier(config),
    )
    with closing(exchange), dismissing(world):
        compose(config, material, exchange, stop).run()


def _carrier(config: PeerConfig) -> Direct | None:
    """The way from pod to pod, if the job asks for it and it can be had. Without, the hub stands in."""
    job = config.job
    if not job.network.is_direct:
        return None
    lease_seconds, patience = (
        float(job.heartbeat_timeout_seconds),
        job.training.round_deadline_seconds,
    )
    try:
        return Direct(config.address, config.peer, lease_seconds, patience)
    except GroupError as error:
        _logger.warning("network.bulk Direct is not to be had, blobs go over the hub: %s", error)
        return None


def compose(config: PeerConfig, material: Material, exchange: Exchange, stop: Stop) -> Peer:
    """The loop with all its parts. Raises ``BadJob``."""
    job, identity = config.job, material.identity
    events = config.work_dir / "events.jsonl"
    recorder = _recorder(config, exchange, events)
    model, trained = _trained(config, material, stop, recorder)
    meta = Meta(run=job.run, method=config.card.type, base_model=job.model.uri, identity=identity)
    common = frozenset(config.card.common_state)
    saves = Saves(material.store, meta, config.peer, job.checkpoint.keep, common)
    judge = _judge(config, material, model)
    entry = Entry(job, exchange, saves, identity, config.attempt, config.node, stop)
    stories = Stories(material.store, job.run, events)
    archiving = None
    if config.card.log_is_adapter:
        archiving = Archiving(material.store, job, material.samples.classes, identity, exchange)
    finish = Finish(job, exchange, judge, material.store, meta, recorder, stories, archiving, stop)
    return Peer(
        Seat(
            job,
            exchange,
            model,
            trained,
            entry,
            saves,
            judge,
            recorder,
            stories,
            finish,
            archiving,
            stop,
        )
    )


def _recorder(config: PeerConfig, exchange: Exchange, events: Path) -> Recorder:
    rounds, period = config.job.training.rounds, float(config.job.report_period_seconds)

    def progress(first: int) -> Progress:
        return open_progress(rounds, sys.stderr, first_round=first, period_seconds=period)

    word = PeerReport(
        peer=config.peer,
        attempt=config.attempt,
        node=config.node,
        micro_batch_size=config.micro_batch_size,
        remark=config.job.method.reason,
    )
    chronicle = Chronicle(config.job.run)
    return Recorder(exchange, EventLog(events), progress, chronicle, word, period)


def _trained(
    config: PeerConfig, material: Material, stop: Stop, recorder: Recorder
) -> tuple[FineTuned, Method]:
    """Model and method, of this process or of a pod's all."""
    own, make = _batches(config, material), partial(_method, config, material)

    def attend(batches: method.Batches) -> AttendedBatches:
        return AttendedBatches(batches, stop, recorder.beat)

    if material.shards is None:
        return material.model, make(AttendedPieces(own, stop, recorder.beat))
    common = config.card.common_state
    return lead(material.shards.world, material, make, own, attend, common=common)


def _batches(config: PeerConfig, material: Material) -> Batches:
    training = config.job.training
    processes = (config.processes or 1) if config.card.shares_samples else 1
    return Batches(
        material.model.encode,
        material.samples,
        material.split.parts[config.peer],
        batch_size=training.batch_size,
        micro_batch_size=config.micro_batch_size,
        seed=training.seed,
        peer=config.peer,
        share=(config.process, processes),
    )


def _method(config: PeerConfig, material: Material, batches: method.Batches) -> Method:
    parts = {"shards": material.shards, "world": material.world}
    shared_out = {name: part for name, part in parts.items() if part is not None}
    try:
        check_suited(config.card, config.job.adapter)
        material.model.fits = room_for(config, material.model.device)
        factory = config.card.load_factory()
        built: Method = factory(
            config.settings,
            config.peer,
            config.job.training.seed,
            material.model,
            batches,
            schedule=config.job.training.schedule,
            **shared_out,
        )
    except Unsuited as error:
        raise BadJob(str(error)) from error
    return built


def _served(config: PeerConfig, material: Material) -> Mapping[str, Action]:
    try:
        served: Mapping[str, Action] = config.card.load_serves()(
            config.settings, material.model, material.world
        )
    except Unsuited as error:
        raise BadJob(str(error)) from error
    return served


def _judge(config: PeerConfig, material: Material, model: FineTuned) -> Judge:
    samples, parts = material.samples, material.split
    return Judge(
        model=model,
        held_out=parts.held_out,
        personal=samples.take(parts.personal[config.peer]) if parts.personal else None,
        training=samples.take(parts.training),
        batch_size=config.micro_batch_size,
        gate=config.job.evaluation.gate,
        seed=config.job.training.seed,
        store=material.store,
        identity=material.identity,
        work_dir=config.work_dir,
    )
