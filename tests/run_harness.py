"""Whole runs in threads: real models, data, methods, loop and store; memory or a real hub between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

import tiny_models
from hub_certificates import Authority
from hub_harness import HubThread
from torch import Tensor
from waiting import wait_for

from haversack_trainer.config import PeerConfig
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.exchange.base import Exchange, Refused, Stop, Stopped, Superseded
from haversack_trainer.exchange.direct import Direct
from haversack_trainer.exchange.memory import MemoryExchange, MemoryLog
from haversack_trainer.main.material import prepare
from haversack_trainer.main.peer import compose

RUN = "ns.job.12345678"
LEASE_SECONDS = 3.0
PATIENCE_SECONDS = 2.0


class Killed(Exception):
    """What a power cut looks like from inside a thread."""


class Transport(Protocol):
    """Where exchanges come from."""

    def exchange(self, peer: int) -> Exchange:
        """A peer's door to the run, not joined."""

    def bury(self, peer: int, exchange: Exchange) -> None:
        """The peer's process is gone without a word."""

    def close_round(self) -> None:
        """The open round's time is over."""

    @property
    def round(self) -> int:
        """The round that is open where the log is kept."""

    @property
    def published(self) -> frozenset[int]:
        """Who has published for it."""


@dataclass
class Memory:
    log: MemoryLog = field(default_factory=lambda: MemoryLog(RUN))

    def exchange(self, peer: int) -> Exchange:
        return MemoryExchange(self.log, peer)

    def bury(self, peer: int, exchange: Exchange) -> None:
        self.log.expire(peer)

    def close_round(self) -> None:
        self.log.close_round()

    @property
    def round(self) -> int:
        return self.log.book.state.round

    @property
    def published(self) -> frozenset[int]:
        return self.log.book.state.published_in_round


@dataclass
class Http:
    hub: HubThread
    is_direct: bool = False

    def exchange(self, peer: int) -> Exchange:
        carrier = (
            Direct("127.0.0.1", peer, LEASE_SECONDS, PATIENCE_SECONDS) if self.is_direct else None
        )
        return self.hub.exchange(peer, carrier=carrier)

    def bury(self, peer: int, exchange: Exchange) -> None:
        exchange.close()

    def close_round(self) -> None:
        self.hub.end_round()

    @property
    def round(self) -> int:
        return self.hub.hub.core.book.state.round

    @property
    def published(self) -> frozenset[int]:
        return self.hub.hub.core.book.state.published_in_round


@contextmanager
def memory(_: Path) -> Iterator[Transport]:
    yield Memory()


@contextmanager
def http(folder: Path) -> Iterator[Http]:
    with HubThread(folder, Authority(folder / "tls", RUN), lease_seconds=LEASE_SECONDS) as hub:
        yield Http(hub)


@contextmanager
def direct(folder: Path) -> Iterator[Transport]:
    """The log over the hub, blobs from peer to peer."""
    with http(folder) as transport:
        transport.is_direct = True
        yield transport


TRANSPORTS: dict[str, Callable[[Path], Any]] = {"memory": memory, "http": http, "direct": direct}


def a_model(folder: Path) -> Path:
    """A tiny BERT without dropout: threads share torch's generator, so draws would not repeat."""
    tiny_models.bert(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def a_data_file(path: Path) -> Path:
    samples = tiny_models.texts()
    assert samples.labels is not None
    rows = [
        {"text": text, "label": samples.classes[label]}
        for text, label in zip(samples.inputs, samples.labels, strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ON_TWO_LAYERS: dict[str, dict[str, Any]] = {
    "D2FT": {"microBatches": 2, "refreshSteps": 5, "gossip": {"localSteps": 2}},
    "DropPEFT": {"localSteps": 4, "shape": "Uniform", "protect": "None"},
}
"""What a method needs to be told where a model has no layers to spare."""


def a_job(
    model: Path,
    data: Path,
    store: Path,
    method: str,
    settings: dict[str, Any] | None = None,
    **changes: Any,
) -> JobFile:
    """Six rounds of three peers that pass their gate; ``changes`` replace whole sections."""
    sections = {
        "run": RUN,
        "job": "job",
        "dataset": {"uri": f"file://{data}", "maxLength": 16},
        "method": {"type": method, "settings": settings or ON_TWO_LAYERS.get(method, {})},
        "training": {"rounds": 6, "batchSize": 4, "seed": 17},
        "storage": {"uri": f"file://{store}"},
        "checkpoint": {"periodRounds": 2},
        "evaluation": {"periodRounds": 3, "gate": {"tolerance": "10"}},
        "numPeers": 3,
        "minPeers": 2,
        "gangTimeoutSeconds": 30,
    }
    return tiny_models.job(model, "SequenceClassification", **(sections | changes))


def peer_config(job: JobFile, peer: int, work: Path) -> PeerConfig:
    """As ``config.load_peer`` would give it to a peer that needs no network."""
    card = METHODS[job.method.type]
    return PeerConfig(
        job=job,
        card=card,
        settings=card.load_settings().model_validate(job.method.settings),
        peer=peer,
        attempt=0,
        node=f"node-{peer}",
        micro_batch_size=3,
        hub_url="",
        hub_name="",
        tls_dir=work,
        work_dir=work,
        cache_dir=work,
    )


def never() -> bool:
    return False


@dataclass
class PeerThread:
    """One peer; ``stop`` is asked between its steps and in its waits, and may raise or block."""

    transport: Transport
    job: JobFile
    peer: int
    work: Path
    stop: Stop = never
    begin: Callable[[], None] = lambda: None
    """Called in the thread before the peer joins."""
    error: BaseException | None = None
    environ: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.exchange = self.transport.exchange(self.peer)
        config = peer_config(self.job, self.peer, self.work)
        self.material = prepare(config, self.environ)
        self._peer = compose(config, self.material, self.exchange, self._asked)
        self._thread = Thread(target=self._run, name=f"peer-{self.peer}")

    def consensus(self) -> dict[str, Tensor]:
        """The run's adapter after its last round, as this peer makes it out."""
        closed = self.exchange.state.closed[-1]
        return self._peer._seat.method.consensus(closed, self.exchange.fetch)

    @property
    def round(self) -> int:
        """The round that this peer believes to be open."""
        return self.exchange.state.round

    def _asked(self) -> bool:
        # Looked up each time: tests change ``stop`` when all peers are there.
        return self.stop()

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive(), f"peer {self.peer} hangs in round {self.round}"

    def _run(self) -> None:
        try:
            self.begin()
            self._peer.run()
        except (Killed, Stopped, Refused, Superseded) as error:
            self.error = error
            if isinstance(error, Killed):
                self.transport.bury(self.peer, self.exchange)
        except BaseException as error:
            self.error = error
            raise


@dataclass
class Crew:
    """Peers of one run over one transport."""

    transport: Transport
    job: JobFile
    folder: Path
    peers: dict[int, PeerThread] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)

    def add(self, peer: int, job: JobFile | None = None) -> PeerThread:
        """A peer, with another job file than the rest if that is wanted."""
        work = self.folder / f"work-{len(list(self.folder.glob('work-*')))}"
        work.mkdir(parents=True)
        self.peers[peer] = PeerThread(
            self.transport, job or self.job, peer, work, environ=self.environ
        )
        return self.peers[peer]

    def run(self) -> None:
        """All added peers, to their ends."""
        with ExitStack() as ends:
            for peer in self.peers.values():
                peer.start()
                ends.callback(peer.join)

    @property
    def survivors(self) -> list[PeerThread]:
        """Those who saw the end."""
        return [peer for peer in self.peers.values() if peer.error is None]


def has_come_to(peer: PeerThread, number: int) -> bool:
    """As a peer's ``stop``: it is asked to end in that round."""
    return peer.round >= number


def wait_until(ready: Callable[[], bool]) -> None:
    """Fails after half a minute. Rounds here take milliseconds."""
    wait_for(ready, pause_seconds=0.005)
