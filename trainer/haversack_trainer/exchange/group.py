"""Bulk between the pods of a site: one all-gather a round, in a process group of their own.

Members meet at a small key-value store in the lowest member's process, whose address its JOIN record tells.
There each says how many bytes it brings; once all are there, one fused all-gather of uint8 moves everything.
Nothing is encrypted: bytes are checked by their sha256, secrecy is the network's.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.distributed import ProcessGroupGloo

from .carrier import GroupError, Keep, Meeting
from .wire import MAX_BLOB_BYTES

_FIRST_LOOK_SECONDS: Final = 0.0005
_LOOK_SECONDS: Final = 0.02

Note = tuple[int, str]
"""How many bytes a member brings, and their sha256 in hex."""
Ended = Callable[[], str | None]
"""Why the group has no future, or None."""


class Host:
    """This process's own address and the store in it, for groups that it is the lowest member of."""

    def __init__(
        self, host: str, timeout_seconds: float, patience_seconds: float | None = None
    ) -> None:
        """``timeout_seconds``: how long a member may be silent while bytes move; ``patience_seconds``: how long a
        slow one is waited for before. Raises ``GroupError`` if nothing can listen at ``host``."""
        self.host, self.timeout = host, timedelta(seconds=timeout_seconds)
        self.patience_seconds = math.inf if patience_seconds is None else patience_seconds
        try:
            self.store = TCPStore(
                host, 0, is_master=True, wait_for_workers=False, timeout=self.timeout
            )
        except RuntimeError as error:
            raise GroupError(f"no store at {host}: {_first_line(error)}") from error
        self.address = f"{host}:{self.store.port}"

    def reach(self, address: str) -> TCPStore:
        """The store at ``address``. Raises ``RuntimeError``."""
        if address == self.address:
            return self.store
        host, _, port = address.rpartition(":")
        return TCPStore(
            host, int(port), is_master=False, wait_for_workers=False, timeout=self.timeout
        )


class Group:
    """One member's place in a group. For one thread."""

    def __init__(self, meeting: Meeting, me: int, host: Host) -> None:
        """Raises ``GroupError``."""
        self.meeting = meeting
        self.bytes_sent = 0
        self._rank, self._host = meeting.members.index(me), host
        self._mesh: ProcessGroupGloo | None = None
        try:
            self._store = PrefixStore(f"group-{meeting.number}", host.reach(meeting.store))
        except RuntimeError as error:
            raise GroupError(
                f"the store at {meeting.store} cannot be reached: {_first_line(error)}"
            ) from error

    def gather(self, round: int, blob: bytes, ended: Ended, keep: Keep) -> None:
        """As ``Carrier.gather``. Raises ``GroupError``, after which this object is of no use."""
        try:
            self._say(round, "brings", f"{len(blob)} {hashlib.sha256(blob).hexdigest()}")
            self._await(round, "brings", ended)
            told = self._store.multi_get(self._keys(round, "brings"))
            notes = [read_note(*pair) for pair in zip(self.meeting.members, told, strict=True)]
            self._move(blob, notes, keep)
            self._say(round, "holds", "all")
            self._await(round, "holds", ended)
        except RuntimeError as error:
            raise GroupError(_first_line(error)) from error

    def close(self) -> None:
        """Break the connections: members that wait for this one learn of it."""
        self._mesh = None

    def _move(self, blob: bytes, notes: list[Note], keep: Keep) -> None:
        widest = max(size for size, _ in notes)
        if widest == 0 or len(notes) == 1:
            return
        self._mesh = self._mesh or self._connected()
        mine = torch.zeros(widest, dtype=torch.uint8)
        mine.numpy()[: len(blob)] = np.frombuffer(blob, dtype=np.uint8)
        everything = torch.empty(len(notes) * widest, dtype=torch.uint8)
        # What ``all_gather_into_tensor`` calls; that one wants a default group, which is another's to make.
        self._mesh._allgather_base(everything, mine).wait()  # type: ignore[attr-defined]  # noqa: SLF001
        self.bytes_sent += widest * (len(notes) - 1)
        for peer, row, note in zip(
            self.meeting.members, everything.view(len(notes), widest), notes, strict=True
        ):
            if note[0] and peer != self.meeting.members[self._rank]:
                keep(peer, _checked(peer, row, note))

    def _connected(self) -> ProcessGroupGloo:
        # The only way to say where to listen.
        options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]  # noqa: SLF001
        options._timeout = self._host.timeout  # noqa: SLF001
        options._devices = [ProcessGroupGloo.create_device(hostname=self._host.host)]  # noqa: SLF001
        store = PrefixStore("mesh", self._store)
        return ProcessGroupGloo(store, self._rank, len(self.meeting.members), options)

    def _say(self, round: int, what: str, value: str) -> None:
        self._store.set(self._keys(round, what)[self._rank], value)
        self._store.delete_key(self._keys(round - 1, what)[self._rank])

    def _await(self, round: int, what: str, ended: Ended) -> None:
        """Wait until all members have said it. Raises ``GroupError`` that names those who have not."""
        keys, pause = self._keys(round, what), _FIRST_LOOK_SECONDS
        until = time.monotonic() + self._host.patience_seconds
        while not self._store.check(keys):
            why = "this round has waited long enough" if time.monotonic() > until else ended()
            if why is not None:
                silent = self._silent(keys)
                raise GroupError(f"{why}; nothing was heard of {silent}" if silent else why)
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS)

    def _silent(self, keys: Iterable[str]) -> str:
        pairs = zip(self.meeting.members, keys, strict=True)
        return ", ".join(f"peer {peer}" for peer, key in pairs if not self._store.check([key]))

    def _keys(self, round: int, what: str) -> list[str]:
        return [f"{round}/{what}/{peer}" for peer in self.meeting.members]


def meeting_of(
    number: int, members: tuple[int, ...], addresses: Mapping[int, str]
) -> Meeting | None:
    """Where ``members`` meet; None if one of them told no address."""
    if not members or not all(addresses.get(peer) for peer in members):
        return None
    return Meeting(number, members, addresses[members[0]])


def read_note(peer: int, note: bytes) -> Note:
    """Raises ``GroupError`` where it is none, or tells of more than a blob may have: memory for it comes next."""
    try:
        size, digest = note.decode().split()
        found = int(size), digest
    except ValueError:
        found = (-1, "")
    if not 0 <= found[0] <= MAX_BLOB_BYTES:
        raise GroupError(
            f"peer {peer} does not say how many bytes it brings, at most {MAX_BLOB_BYTES}"
        )
    return found


def _checked(peer: int, row: Tensor, note: Note) -> bytes:
    size, digest = note
    blob = row[:size].numpy().tobytes()
    if hashlib.sha256(blob).hexdigest() != digest:
        raise GroupError(f"what came from peer {peer} is damaged")
    return blob


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else repr(error)
