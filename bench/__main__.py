"""``python -m bench``: every benchmark, one after the other; ``python -m bench NAME …`` for some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def names() -> list[str]:
    """The modules here that can be run."""
    here = Path(__file__)
    others = (path for path in here.parent.glob("*.py") if path != here)
    return sorted(path.stem for path in others if "\ndef main(" in path.read_text())


def main() -> int:
    chosen = sys.argv[1:] or names()
    if unknown := set(chosen) - set(names()):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
        return 2
    # A process each: peak memory and imports of one would count for the next.
    return max(subprocess.call([sys.executable, "-m", f"bench.{name}"]) for name in chosen)


if __name__ == "__main__":
    sys.exit(main())
