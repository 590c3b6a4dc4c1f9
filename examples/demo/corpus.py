"""Real text that is on every machine: the docstrings of Python's standard library.

The task is to tell from a docstring alone which family of modules it comes from; names of modules
are masked. About 2,650 texts in 6 classes. They are parsed from source files; nothing is imported.
"""

from __future__ import annotations

import ast
import json
import random
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

FAMILIES: Final = {
    "numbers and time": "_pydecimal _pydatetime calendar datetime fractions heapq numbers random "
    "statistics _strptime bisect cmath colorsys",
    "files and archives": "tarfile zipfile pathlib shutil os _pyio bz2 lzma tempfile gzip pickle "
    "posixpath ntpath genericpath shelve dbm fileinput glob fnmatch filecmp io zipimport wave",
    "network": "http urllib xmlrpc imaplib nntplib ftplib ssl socket socketserver smtplib poplib "
    "telnetlib ipaddress wsgiref webbrowser netrc",
    "mail and markup": "email mailbox xml html mimetypes quopri base64 plistlib json csv",
    "concurrency": "asyncio multiprocessing threading concurrent queue subprocess selectors sched",
    "windows and drawing": "tkinter turtle idlelib turtledemo curses",
}
MAX_PER_FAMILY: Final = 450
MIN_WORDS: Final = 5
SEED: Final = 17


def write(path: Path) -> int:
    """Write the corpus as JSONL with ``text`` and ``label``; returns the number of texts."""
    rows = [{"text": text, "label": family} for family in FAMILIES for text in texts(family)]
    random.Random(SEED).shuffle(rows)  # noqa: S311  a fixed order, no secret
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return len(rows)


@cache
def texts(family: str) -> tuple[str, ...]:
    """The family's docstrings without repetitions, at most ``MAX_PER_FAMILY``, in a fixed order."""
    library = Path(sysconfig.get_path("stdlib"))
    modules = FAMILIES[family].split()
    found = {
        text
        for module in modules
        for path in sorted([library / f"{module}.py", *(library / module).rglob("*.py")])
        if path.is_file() and "test" not in path.stem and "_test" not in path.parent.name
        for text in _docstrings(path)
    }
    chosen = random.Random(SEED).sample(sorted(found), min(len(found), MAX_PER_FAMILY))  # noqa: S311
    return tuple(chosen)


def _docstrings(path: Path) -> Iterator[str]:
    names = "|".join(
        re.escape(module.strip("_")) for modules in FAMILIES.values() for module in modules.split()
    )
    masked = re.compile(rf"\b_?(py)?({names})(\.\w+)*", re.IGNORECASE)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_bytes())):
        text = ast.get_docstring(node) if isinstance(node, documented) else None
        if text and len(text.split()) >= MIN_WORDS:
            yield masked.sub("module", " ".join(text.split()))
