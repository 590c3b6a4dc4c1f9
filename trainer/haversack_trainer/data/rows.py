"""Files to rows: JSONL, CSV, text and ``datasets`` folders. Every error names the file and line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from haversack_trainer.contract.spec import DataFormat

from .samples import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One sample as it stands in its file."""

    place: str
    """``file, line n``: for messages."""
    values: Mapping[str, Any]


TEXT_COLUMN: Final = "text"
"""The only column of a plain text file."""


def rows(format: DataFormat, path: Path) -> Iterator[Row]:
    """All rows of a file, or of a folder's files in order of their names. Raises ``DataError``."""
    if format is DataFormat.FOLDER:
        yield from _folder_rows(path)
        return
    parse, suffixes = _PARSERS[format]
    for file in _files(path, suffixes):
        try:
            yield from parse(file)
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error.strerror}") from error


def _files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(f for f in path.rglob("*") if f.suffix in suffixes and f.is_file())
    if not found:
        raise DataError(
            f"{path} holds no file named *{' or *'.join(suffixes)}; correct dataset.uri"
        )
    return found


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{_place(file, number)} is not UTF-8; convert the file") from error
            yield number, text


def _place(file: Path, number: int) -> str:
    return f"{file.name}, line {number}"


def _jsonl_rows(file: Path) -> Iterator[Row]:
    for number, line in _lines(file):
        if not line.strip():
            continue
        place = _place(file, number)
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place} is not JSON ({error}); correct or remove it") from error
        if not isinstance(values, dict):
            raise DataError(f'{place} must be one JSON object such as {{"text": "…"}}; correct it')
        yield Row(place, values)


def _csv_rows(file: Path) -> Iterator[Row]:
    reader = csv.reader((line for _, line in _lines(file)), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            place = _place(file, reader.line_num)
            if not header:
                header = cells
            elif cells and len(cells) != len(header):
                raise DataError(
                    f"{place} has {len(cells)} fields, the header {len(header)}; correct it"
                )
            elif cells:
                yield Row(place, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(
            f"{_place(file, reader.line_num)} is not CSV ({error}); correct it"
        ) from error


def _text_rows(file: Path) -> Iterator[Row]:
    for number, line in _lines(file):
        if line.strip():
            yield Row(_place(file, number), {TEXT_COLUMN: line.rstrip("\r\n")})


def _folder_rows(path: Path) -> Iterator[Row]:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "dataset.format Folder needs the extra 'data': pip install 'haversack[data]'"
        ) from error
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} was not written by datasets.save_to_disk ({error})") from error
    if isinstance(loaded, datasets.DatasetDict):
        if "train" not in loaded:
            raise DataError(f"{path} holds {sorted(loaded)} and no 'train'; name one part's folder")
        loaded = loaded["train"]
    for number, values in enumerate(loaded, start=1):
        yield Row(f"{path.name}, row {number}", values)


_PARSERS: Final[dict[DataFormat, tuple[Callable[[Path], Iterator[Row]], tuple[str, ...]]]] = {
    DataFormat.JSONL: (_jsonl_rows, (".jsonl", ".json", ".ndjson")),
    DataFormat.CSV: (_csv_rows, (".csv",)),
    DataFormat.TEXT: (_text_rows, (".txt", ".text")),
}
