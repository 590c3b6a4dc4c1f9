"""The one reader of YAML files that people hand in: bounded, and every fault is one sentence.

A file may come from anywhere. So it has no anchors (a kilobyte of them unfolds to gigabytes), and its
size, depth and number of values are bounded before anything is built of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.reader import ReaderError

MAX_DEPTH: Final = 64
INT_BITS: Final = 63
NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")
"""Neither a path, nor an API object, nor UTF-8 can hold them."""
_SHOWN: Final = 40


class DocumentError(Exception):
    """A file that is no YAML of ours; the message names the file and, where it can, the line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one file may hold."""

    size_bytes: int
    values: int


def read_documents(path: Path, limits: Limits, wanted: str) -> list[Any]:
    """The documents of a file that are not empty. Raises ``DocumentError``; ``wanted`` says what the
    file should be."""
    text = _text(path, limits, wanted)
    documents = []
    try:
        loader: Any = _Loader(text, limits.values)
        while loader.check_data():
            documents.append(loader.get_data())
    except (yaml.YAMLError, RecursionError) as error:
        raise DocumentError(f"{path} is not YAML: {_where(error)}") from error
    return [document for document in documents if document is not None]


def _text(path: Path, limits: Limits, wanted: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(limits.size_bytes + 1)
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; name a file with {wanted}") from error
    except ValueError as error:
        raise DocumentError(f"{str(path)!r} is no path; name a file with {wanted}") from error
    if len(content) > limits.size_bytes:
        raise DocumentError(
            f"{path} is over {limits.size_bytes >> 20} MiB; name a file with {wanted}"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path} is not YAML: it is not UTF-8 text") from error


def _where(error: Exception) -> str:
    if isinstance(error, ReaderError):
        return f"it has the character {chr(error.character)!r}; leave it out"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it is not text"
    return problem if mark is None else f"{problem}, line {mark.line + 1}"


class _Loader(yaml.SafeLoader):
    """YAML's plain values, with bounds."""

    def __init__(self, text: str, max_values: int) -> None:
        super().__init__(text)
        self._left = max_values
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """A value of the file, before anything is built of it."""
        peek: Callable[[], Any] = self.peek_event
        event = peek()
        if event.anchor is not None:
            raise _fault(event, f"an anchor or alias, {event.anchor}; write the value out")
        self._left -= 1
        if self._left < 0:
            raise _fault(event, "too many values")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _fault(event, f"it is nested more than {MAX_DEPTH} deep")
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """The value; one that its tag or its form does not allow is named with its line."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, KeyError, OverflowError) as error:
            raise _fault(node, f"{_shown(node)} cannot be read; put it in quotes") from error
        if isinstance(value, int) and value.bit_length() > INT_BITS:
            raise _fault(node, f"{_shown(node)} is too large a number")
        if isinstance(value, str) and NO_TEXT.search(value):
            raise _fault(node, f"{_shown(node)} has a character that no text may have")
        return value


def _fault(at: Any, problem: str) -> ConstructorError:
    """Of an event or a node."""
    return ConstructorError(None, None, problem, at.start_mark)


def _shown(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return "an object" if isinstance(node, MappingNode) else "a list"
    text = ascii(node.value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
