"""``haversack-trainer replay``: base model + log = adapter, on a machine that took no part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from haversack_trainer.checkpoint import archive as archives
from haversack_trainer.checkpoint.adapters import ADAPTERS, published
from haversack_trainer.checkpoint.archive import Archive
from haversack_trainer.checkpoint.manifest import MANIFEST, CheckpointError, Manifest, digest, read
from haversack_trainer.checkpoint.replay import CannotReplay, Stretch, stretches
from haversack_trainer.checkpoint.tensors import encode_tensors
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.spec import S3Spec
from haversack_trainer.data import DataError, resolve
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.loop.saves import ADAPTER
from haversack_trainer.model import FineTuned, ModelError, load_model
from haversack_trainer.objects.base import Store, StoreError
from haversack_trainer.objects.opening import open_store

CHUNK_ROUNDS: Final = 100
"""Between two lines of progress."""
_ADAPTER: Final = re.compile(
    r"^(?P<store>.+)/adapters/(?P<folder>[0-9]+-[0-9a-f]{8})(/manifest\.json)?/?$"
)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for."""

    run: str
    """A job's folder in its store, or the address of an adapter that it published."""
    to: int | None = None
    """Rounds; None for all."""
    output: Path | None = None
    base: str | None = None
    """Another address of the base model."""
    s3: S3Spec = field(default_factory=S3Spec)
    """How an s3:// address of the run is reached."""
    cache_dir: Path = Path.home() / ".cache/haversack"


def replay(order: Order, environ: Mapping[str, str], say: Say) -> str:
    """Make the adapter; its digest. Raises ``CannotReplay`` with one sentence."""
    try:
        return _replay(order, environ, say)
    except (StoreError, CheckpointError, DataError, ModelError) as error:
        raise CannotReplay(str(error)) from error


def _replay(order: Order, environ: Mapping[str, str], say: Say) -> str:
    store, manifest = _find(order, environ)
    archive = _archive(store, order.run, manifest)
    logs = [archives.records(store, archive, part) for part in archive.logs]
    num_bytes = sum(segment.size_bytes for part in archive.logs for segment in part.segments)
    say(
        f"{archive.job.run}: {archive.rounds} rounds in {num_bytes} bytes of log, every hash is right"
    )
    model = _model(order, archive, environ)
    replica = _replica(archive, model)
    for stretch in stretches(archive, logs, order.to):
        _check_base(stretch, model)
        for count, piece in _chunks(stretch.rounds):
            replica.replay(piece)
            say(f"round {stretch.part.start.round + count} of {order.to or archive.rounds}")
    found = model.trainables_digest()
    if manifest is not None and order.to in {None, manifest.round}:
        _compare(manifest, found, say)
    else:
        say("nothing was published after this round to compare with")
    if order.output is not None:
        model.save_adapter(order.output)
        say(f"the adapter is in {order.output}")
    return found


def _find(order: Order, environ: Mapping[str, str]) -> tuple[Store, Manifest | None]:
    named = _ADAPTER.match(order.run)
    store = open_store(named["store"] if named else order.run, order.s3, environ)
    if named is None:
        return store, published(store)
    return store, read(store, f"{ADAPTERS}/{named['folder']}/{MANIFEST}")[0]


def _archive(store: Store, address: str, manifest: Manifest | None) -> Archive:
    """Of the published adapter, or the newest of the only run that there is."""
    if manifest is not None:
        if manifest.archive is None:
            raise CannotReplay(_no_log(manifest.meta.method, address))
        return archives.read(store, manifest.archive)
    runs = sorted({info.key.split("/")[1] for info in store.list(f"{archives.ARCHIVE}/")})
    found = archives.newest(store, runs[-1]) if runs else None
    if found is None:
        raise CannotReplay(
            f"there is no log of a run at {address}: name the folder of a job that trains by SPSA"
        )
    return found.archive


def _no_log(method: str, address: str) -> str:
    card = METHODS.get(method)
    if card is not None and card.log_is_adapter:
        return f"the adapter at {address} was published without its log"
    return f"the adapter at {address} cannot be made from a log: {method} exchanges more than its log holds"


def _model(order: Order, archive: Archive, environ: Mapping[str, str]) -> FineTuned:
    """The base model with the adapter as it was at the start."""
    job, uri = archive.job, order.base or archive.job.model.uri
    opener = partial(open_store, s3=job.storage.s3, environ=environ)
    revision = None if order.base else job.model.revision
    path = resolve(uri, cache_dir=order.cache_dir, open_store=opener, revision=revision)
    model = load_model(job, path, archive.classes)
    wanted = archive.identity
    if model.base_digest() != wanted.base_model:
        raise CannotReplay(
            f"{uri} is another base model than the run's: its weights have sha256 {model.base_digest()}, "
            f"not {wanted.base_model}; give the right one with --base"
        )
    if model.trainables_digest() != wanted.trainables:
        raise CannotReplay(
            "the adapter that the run began with comes out differently here: use the versions of torch and peft "
            "that the run used"
        )
    return model


def _replica(archive: Archive, model: FineTuned) -> Any:
    job = archive.job
    card = METHODS[job.method.type]
    settings = card.load_settings().model_validate(job.method.settings)
    return card.load_replica()(settings, job.training.seed, model, job.training.schedule)


def _check_base(stretch: Stretch, model: FineTuned) -> None:
    """A log that began from a checkpoint must find the adapter as that checkpoint had it."""
    if stretch.part.base is None:
        return
    wanted = next(entry.sha256 for entry in stretch.part.base.files if entry.name == ADAPTER)
    if digest(encode_tensors(model.trainable_state())) != wanted:
        raise CannotReplay(
            f"the adapter after round {stretch.part.start.round} is not the checkpoint that the run went on from"
        )


def _compare(manifest: Manifest, found: str, say: Say) -> None:
    wanted = manifest.verdict.adapter_digest if manifest.verdict else ""
    if found != wanted:
        raise CannotReplay(
            f"the log leads to an adapter with sha256 {found}, but {wanted} was published: they do not belong together"
        )
    say(f"the same adapter as was published after round {manifest.round}: sha256 {found}")


def _chunks(rounds: Sequence[ClosedRound]) -> Iterator[tuple[int, Sequence[ClosedRound]]]:
    """Pieces, each with the number of rounds up to its end."""
    for start in range(0, len(rounds), CHUNK_ROUNDS):
        piece = rounds[start : start + CHUNK_ROUNDS]
        yield start + len(piece), piece
