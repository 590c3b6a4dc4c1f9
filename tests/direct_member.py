"""Peer 2 as a process of its own, which is killed in the gather of round 1: ``python direct_member.py PORT TLS RUN``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from faulty_group import Faulty, FaultyDirect, blob_of
from hub_certificates import HUB_NAME
from hub_harness import a_join
from swapping import swap

from haversack_trainer.exchange.http import HttpExchange

ME = 2


def killed(_group: Faulty, round: int) -> None:
    if round == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    port, tls_dir, run = sys.argv[1:]
    exchange = HttpExchange(
        f"https://127.0.0.1:{port}",
        hub_name=HUB_NAME,
        tls_dir=Path(tls_dir),
        run=run,
        me=ME,
        carrier=FaultyDirect(ME, {"said brings": killed}),
    )
    exchange.join(a_join("process"))
    exchange.wait_for(lambda state: state.start is not None, lambda: False)
    for number in range(2):
        swap(exchange, number, blob_of(number, ME))


if __name__ == "__main__":
    main()
