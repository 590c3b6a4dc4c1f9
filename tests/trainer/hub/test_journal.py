"""The log on disk: torn tails, full disks, other runs' folders."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.hub.journal import HubError, Journal, NotStored

RECORDS = [Record(Kind.PAYLOAD, peer, 0, bytes([peer]) * 20) for peer in range(10)]


def filled(folder: Path, segment_bytes: int = 100) -> list[Path]:
    journal = Journal(folder, "run", segment_bytes=segment_bytes)
    for record in RECORDS:
        journal.append(record.encode())
    journal.sync()
    journal.close()
    return sorted(folder.glob("log-*.seg"))


def reopened(folder: Path) -> Journal:
    journal = Journal(folder, "run")
    journal.close()
    return journal


def test_a_restart_reads_all_segments_back(tmp_path: Path) -> None:
    assert len(filled(tmp_path)) > 2
    journal = reopened(tmp_path)
    assert (list(journal.records()), journal.was_cut) == (RECORDS, False)
    assert journal.store == reopened(tmp_path).store


@pytest.mark.parametrize("lost", range(1, 36))
def test_a_torn_tail_is_cut_at_the_last_whole_record(tmp_path: Path, lost: int) -> None:
    newest = filled(tmp_path, segment_bytes=10**6)[-1]
    os.truncate(newest, newest.stat().st_size - lost)
    journal = reopened(tmp_path)
    assert (list(journal.records()), journal.was_cut) == (RECORDS[:-1], True)
    assert newest.stat().st_size == sum(record.num_bytes for record in RECORDS[:-1])


def test_appends_go_on_after_a_cut(tmp_path: Path) -> None:
    newest = filled(tmp_path)[-1]
    os.truncate(newest, newest.stat().st_size - 1)
    journal = Journal(tmp_path, "run")
    journal.append(RECORDS[-1].encode())
    journal.close()
    assert list(reopened(tmp_path).records()) == RECORDS


def damage(segment: Path) -> None:
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)


@pytest.mark.parametrize("harm", [damage, Path.unlink], ids=["damaged", "missing"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_segment_in_the_middle_ends_the_log_there_and_peers_bring_it_back(
    tmp_path: Path, which: int, harm: Callable[[Path], None]
) -> None:
    segments = filled(tmp_path)
    store = reopened(tmp_path).store
    harm(segments[which])
    journal = Journal(tmp_path, "run")
    known = len(list(journal.records()))
    assert (list(journal.records()), journal.was_cut) == (RECORDS[:known], True)
    # Another name, so that peers give back what they know to have been taken.
    assert journal.store != store
    for record in RECORDS[known:]:
        journal.append(record.encode())
    journal.close()
    again = reopened(tmp_path)
    assert (list(again.records()), again.was_cut, again.store) == (RECORDS, False, journal.store)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(HubError, match="holds the log of run 'run', not of 'other'"):
        Journal(tmp_path, "other")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    room = [50]

    def write(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = os.write(file, data[: room[0]])
        room[0] -= taken
        return taken

    journal = Journal(tmp_path, "run", write=write)
    journal.append(RECORDS[0].encode())
    with pytest.raises(NotStored, match=r"No space left on device.*make room there"):
        journal.append(RECORDS[1].encode())
    room[0] = 1000
    journal.append(RECORDS[2].encode())
    journal.close()
    assert list(reopened(tmp_path).records()) == [RECORDS[0], RECORDS[2]]
