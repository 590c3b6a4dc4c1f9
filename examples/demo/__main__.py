"""``python -m examples.demo``: four peers on this machine fine-tune a real model together.

The job and the inventory are written to files and then run exactly as ``haversack run`` does; half-way a
node is unplugged.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from haversack_operator.cli.run import Request, run
from haversack_operator.cli.words import BAD_INPUT, DONE, InputError, duration

from . import corpus, minilm, setting
from .plug import Plug

FOLDER = Path(".haversack/demo")


def main() -> int:
    """Run the demo; the exit code of ``haversack run``."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--method", choices=setting.RECIPES, default="DecLoRA")
    method: str = parser.parse_args().method
    began = time.monotonic()
    try:
        code = _run(method)
    except (InputError, minilm.NoModel) as error:
        print(f"demo: {error}", file=sys.stderr)
        return BAD_INPUT
    if code == DONE:
        report = FOLDER / "store" / f"{setting.NAME}-{method.lower()}" / "report.html"
        print(f"html      {report.resolve()}")
        print(f"expected  {setting.RECIPES[method].expectation}")
    print(f"time      {duration(time.monotonic() - began)}")
    return code


def _run(method: str) -> int:
    # An adapter of an earlier demo would be the gate's reference.
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    data = FOLDER / "docstrings.jsonl"
    count = corpus.write(data)
    print(
        f"data      {count} docstrings of Python's standard library in {len(corpus.FAMILIES)} families"
    )
    print(f"model     all-MiniLM-L6-v2, {minilm.PARAMETERS / 1e6:.1f} million weights")
    job, nodes = setting.write(method, FOLDER, data, FOLDER / "store")
    request = Request(job, nodes, FOLDER / "jobs")
    print(f"running   {request.command()}", flush=True)
    return run(request, Plug(setting.UNPLUGGED))


if __name__ == "__main__":
    sys.exit(main())
