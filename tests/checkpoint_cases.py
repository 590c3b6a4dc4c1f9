"""Builders for checkpoints and adapters, and stores that fail on purpose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

from haversack_trainer.checkpoint.manifest import Meta
from haversack_trainer.contract.membership import Identity
from haversack_trainer.contract.report import Evaluation, Verdict
from haversack_trainer.objects.base import Away, ObjectInfo, Store, StoreError

T = TypeVar("T")
RUN = "team.triage.0a1b2c3d"


def meta(run: str = RUN, **metrics: float) -> Meta:
    identity = Identity(
        base_model="b" * 64,
        adapter="LoRA r=8",
        trainables="t" * 64,
        method="SPSA",
        seed="17",
        data="d" * 64,
    )
    return Meta(
        run=run, method="SPSA", base_model="hf://org/model@main", identity=identity, metrics=metrics
    )


def a_verdict(round: int = 40, *, passed: bool = True) -> Verdict:
    before = Evaluation(round=0, loss=1.5, accuracy=0.2, num_samples=100)
    after = Evaluation(round=round, loss=0.5, accuracy=0.8, num_samples=100)
    return Verdict(
        passed=passed, reason="1.0 lower than the base model", round=round, before=before, after=after,
        interval=(-1.1, -0.9), adapter_digest="a" * 64,
    )  # fmt: skip


def an_adapter(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


class Wrapped:
    """A store that hands everything on; what differs is said by its children."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.uri = store.uri

    def within(self, seconds: float) -> Self:
        other = copy.copy(self)
        other.store = self.store.within(seconds)
        return other

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectInfo:
        return self.store.put(key, data, if_absent=if_absent, if_match=if_match)

    def put_file(self, key: str, path: Path, sha256: str) -> ObjectInfo:
        return self.store.put_file(key, path, sha256)

    def get(self, key: str) -> tuple[bytes, ObjectInfo]:
        return self.store.get(key)

    def download(self, key: str, path: Path, sha256: str | None = None) -> str:
        return self.store.download(key, path, sha256)

    def head(self, key: str) -> ObjectInfo | None:
        return self.store.head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self.store.list(prefix)

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def probe(self) -> bool:
        return self.store.probe()

    def abort_uploads(self, before: float) -> int:
        return self.store.abort_uploads(before)


class Unconditional(Wrapped):
    """An old S3 server: conditions are ignored, every racing writer wins."""

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectInfo:
        return self.store.put(key, data)

    def probe(self) -> bool:
        return False


class NoRoomFor(Wrapped):
    """A store on a disk that is full for keys with a prefix, until somebody makes room."""

    def __init__(self, store: Store, prefix: str, times: int) -> None:
        super().__init__(store)
        self._prefix, self._times = prefix, times

    def put_file(self, key: str, path: Path, sha256: str) -> ObjectInfo:
        if key.startswith(self._prefix) and self._times > 0:
            self._times -= 1
            raise Away(f"no room left for {key}")
        return self.store.put_file(key, path, sha256)


class Failing(Wrapped):
    """A store that goes away after ``writes`` more writes or deletions."""

    def __init__(self, store: Store, writes: int) -> None:
        super().__init__(store)
        self._left = writes

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectInfo:
        return self._unless_away(
            lambda: self.store.put(key, data, if_absent=if_absent, if_match=if_match)
        )

    def put_file(self, key: str, path: Path, sha256: str) -> ObjectInfo:
        return self._unless_away(lambda: self.store.put_file(key, path, sha256))

    def delete(self, key: str) -> None:
        self._unless_away(lambda: self.store.head(key))
        self.store.delete(key)

    def _unless_away(self, act: Callable[[], T]) -> T:
        self._left -= 1
        if self._left < 0:
            raise StoreError("the store went away")
        return act()
