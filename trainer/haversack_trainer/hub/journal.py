"""The log on disk: append-only segment files that are never left with half a record.

A file ``log-<position>.seg`` holds frames from that position on. ``store.json`` names the run and gives
the disk a random name, by which peers notice that a hub came back with another disk, or lost a part of it.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Final

from haversack_trainer.contract.records import CorruptRecord, Record, decode

SEGMENT_BYTES: Final = 8 * 2**20
"""The hub holds two of them in memory, and a newcomer reads one at a time."""
_logger: Final = logging.getLogger(__name__)


class HubError(Exception):
    """The hub cannot start or go on; says what to change."""


class NotStored(Exception):
    """The disk did not take a record or blob; nothing of it is left, and later ones may fit."""


class Journal:
    """Recovers on opening; afterwards append-only. One process at a time."""

    def __init__(
        self,
        folder: Path,
        run: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self._folder, self._segment_bytes, self._write = folder, segment_bytes, write
        folder.mkdir(parents=True, exist_ok=True)
        self.was_cut = False
        """Whether opening found damage, and cut off the log from there on."""
        self.starts: list[int] = []
        """Position of each segment's first record."""
        self._position = self._size = 0
        self._swap = Lock()
        """Held while the file is synced or exchanged for the next."""
        self.store = _claim(folder / "store.json", run)
        self._file = self._open_newest(self._recover())
        if self.was_cut:
            self.store = _name(folder / "store.json", run)

    def __len__(self) -> int:
        """Number of records."""
        return self._position

    def records(self) -> Iterator[Record]:
        """All records, read from the disk one segment after the other."""
        for start in self.starts:
            yield from decode(self.segment(start))

    def segment(self, start: int) -> bytes:
        """All frames of the segment that begins at ``start``. Raises ``NotStored``."""
        path = self._folder / _segment(start)
        try:
            return path.read_bytes()
        except OSError as error:
            raise NotStored(
                f"the hub's disk does not give {path} back: {error.strerror}"
            ) from error

    def append(self, frame: bytes) -> None:
        """Write one frame, all of it or nothing. Raises ``NotStored``."""
        if self._size >= self._segment_bytes:
            self._roll()
        try:
            done = 0
            while done < len(frame):
                done += self._write(self._file, frame[done:])
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise NotStored(
                f"the hub's disk at {self._folder} took no more records ({error.strerror}): make room there"
            ) from error
        self._size += len(frame)
        self._position += 1

    def sync(self) -> None:
        """Wait until all that was appended is on the disk. Safe beside ``append`` in another thread.

        Raises ``OSError``; after that the disk's state is unknown and the hub must not go on.
        """
        with self._swap:
            os.fdatasync(self._file)

    def close(self) -> None:
        with self._swap:
            os.fdatasync(self._file)
            os.close(self._file)

    def _recover(self) -> Path | None:
        """Reads the segments up to the first damage and removes what is after it; returns the newest one."""
        segments = sorted(self._folder.glob("log-*.seg"))
        read: list[Path] = []
        for segment in segments:
            if self.was_cut or segment.name != _segment(self._position):
                _logger.warning("%s is removed: what comes before it is damaged", segment)
                segment.unlink()
                self.was_cut = True
            else:
                self.starts.append(self._position)
                self._read(segment)
                read.append(segment)
        return read[-1] if read else None

    def _read(self, segment: Path) -> None:
        self._size = 0
        try:
            for record in decode(segment.read_bytes()):
                self._position += 1
                self._size += record.num_bytes
        except CorruptRecord as error:
            size = segment.stat().st_size
            _logger.warning("%s is cut at byte %d of %d: %s", segment, self._size, size, error)
            os.truncate(segment, self._size)
            self.was_cut = True

    def _open_newest(self, segment: Path | None) -> int:
        path = segment or self._folder / _segment(self._position)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        _sync_folder(self._folder)
        if segment is None:
            self.starts.append(self._position)
        return file

    def _roll(self) -> None:
        try:
            file = self._open_newest(None)
        except OSError as error:
            raise NotStored(f"the hub's disk at {self._folder} is full: make room there") from error
        with self._swap:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file, self._size = file, 0


def _segment(position: int) -> str:
    return f"log-{position:012}.seg"


def _claim(path: Path, run: str) -> str:
    """The disk's random name, made at first use. Raises ``HubError`` if the disk is another run's."""
    if not path.exists():
        return _name(path, run)
    try:
        found = json.loads(path.read_text())
        owner, store = str(found["run"]), str(found["store"])
    except (ValueError, KeyError, TypeError) as error:
        raise HubError(f"{path} cannot be read: empty {path.parent}") from error
    if owner != run:
        raise HubError(f"{path.parent} holds the log of run {owner!r}, not of {run!r}: use another")
    return store


def _name(path: Path, run: str) -> str:
    """Gives the disk a new name."""
    store = secrets.token_hex(8)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"run": run, "store": store}))
    part.replace(path)
    return store


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
