"""What a peer keeps in the store: the run's adapter as it stands, and each peer's own state beside it.

The leader saves the consensus, from which anybody can go on. A method that has a state of its own (an
optimizer's moments) is saved by each peer for itself, so that a resumed peer goes on exactly where it was.
What of that state is equal on all peers lies with the consensus, once: a newcomer needs it, too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from haversack_trainer.checkpoint import states
from haversack_trainer.checkpoint.manifest import Meta
from haversack_trainer.checkpoint.tensors import (
    decode_state,
    decode_tensors,
    encode_state,
    encode_tensors,
)
from haversack_trainer.contract.membership import CheckpointRef
from haversack_trainer.exchange.backoff import Backoff, pause
from haversack_trainer.exchange.base import Stop
from haversack_trainer.objects.base import Away, NotFound, Store

from .snapshot import Snapshot

ADAPTER: Final = "adapter.safetensors"
EXTRA: Final = "method.safetensors"
COMMON: Final = "common.safetensors"
PLEDGES: Final = "pledges"
PATIENCE_SECONDS: Final = 15.0
"""Nobody waits longer for a store that is away: all peers wait for the leader meanwhile, and a pod that is
told to stop has a minute."""
_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Saves:
    """The checkpoints of one run, as one of its peers writes and reads them."""

    store: Store
    meta: Meta
    peer: int
    keep: int
    common: frozenset[str] = frozenset()
    """Names in the method's state of what is equal on all peers."""

    def newest(self) -> CheckpointRef | None:
        """The newest whole checkpoint of the run."""
        return states.newest(self.store, self.meta.run)

    def shared(
        self, round: int, tensors: Mapping[str, Tensor], extra: Mapping[str, Any] | None = None
    ) -> CheckpointRef:
        """Save the run's adapter after ``round`` rounds, and what of the method's state is everybody's.

        Raises ``StoreError``."""
        store = self.store.within(PATIENCE_SECONDS)
        files = {ADAPTER: encode_tensors(tensors)}
        if common := {name: (extra or {})[name] for name in self.common & set(extra or {})}:
            files[COMMON] = encode_state(common)
        ref = states.save(store, round, files, self.meta)
        states.prune(store, self.meta.run, self.keep, upto=round)
        return ref

    def own(self, snapshot: Snapshot) -> None:
        """Save what only this peer has, if there is anything. Raises ``StoreError``."""
        extra = {
            name: value for name, value in (snapshot.extra or {}).items() if name not in self.common
        }
        if not extra:
            return
        files = {ADAPTER: encode_tensors(snapshot.tensors), EXTRA: encode_state(extra)}
        store = self.store.within(PATIENCE_SECONDS)
        states.save(store, snapshot.round, files, self._own_meta)
        states.prune(store, self._own_meta.run, self.keep, upto=snapshot.round)

    def load(self, ref: CheckpointRef) -> Snapshot:
        """The peer's own state at the checkpoint if it has one, otherwise everybody's.

        Raises ``StoreError``, ``CheckpointError``."""
        own = states.newest(self.store, self._own_meta.run, ref.round)
        if own is None:
            tensors, common = self._shared(ref)
            return Snapshot(ref.round, tensors, common or None)
        files, _ = states.load(self.store, own)
        common = self._shared(ref)[1] if self.common else {}
        extra = common | decode_state(files[EXTRA])
        return Snapshot(ref.round, decode_tensors(files[ADAPTER]), extra)

    def adapter(self, ref: CheckpointRef) -> dict[str, Tensor]:
        """Everybody's adapter at the checkpoint."""
        return self._shared(ref)[0]

    def _shared(self, ref: CheckpointRef) -> tuple[dict[str, Tensor], dict[str, Any]]:
        files, _ = states.load(self.store, ref)
        common = decode_state(files[COMMON]) if COMMON in files else {}
        return decode_tensors(files[ADAPTER]), common

    def pledge(self, spent: Sequence[int], stop: Stop) -> None:
        """Note what this peer's privacy will have spent, before what spends it is published: a process that is killed
        forgets. Waits for a store that is away, however long. Raises ``StoreError``, ``Stopped``."""
        store, backoff = self.store.within(PATIENCE_SECONDS), Backoff()
        while True:
            try:
                store.put(self._pledge_key, json.dumps(list(spent)).encode())
            except Away as error:
                _logger.warning("nothing is published yet: %s", error)
                pause(backoff.next_seconds(), stop)
            else:
                return

    def pledged(self) -> list[int]:
        """The newest of it, by whatever process of this peer; empty if there is none. Raises ``StoreError``."""
        try:
            body, _ = self.store.get(self._pledge_key)
        except NotFound:
            return []
        return [int(number) for number in json.loads(body)]

    @property
    def _pledge_key(self) -> str:
        return f"{PLEDGES}/{self._own_meta.run}.json"

    @property
    def _own_meta(self) -> Meta:
        return self.meta.model_copy(update={"run": f"{self.meta.run}.peer-{self.peer}"})
