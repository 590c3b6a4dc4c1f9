"""Tables of figures in pages for people, from the result files. ``python -m bench.measured`` writes them, a test compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench import pages
from bench.choosing_page import choosing
from bench.droppeft_page import droppeft
from bench.flexdemo_page import flexdemo
from bench.wan_schemes import REFERENCE, rows

ROOT: Final = Path(__file__).parents[1]
BEGIN: Final = "<!-- measured: written by `python -m bench.measured` from bench/results -->\n"
END: Final = "<!-- end of measured -->"

Figures = Mapping[str, Any]


def _operator_job(f: Figures) -> str:
    job = f["per_4_peer_job"]
    return f"{job['cpu_seconds']:.2f} CPU-seconds, {job['api_writes']:.0f} API writes"


def _operator_idle(f: Figures) -> str:
    idle = f["with_1000_idle_jobs"]
    return (
        f"{idle['api_writes']} API writes, {idle['api_reads']} reads, "
        f"{idle['cpu_percent_of_a_core']} % of a core in a minute"
    )


def _placement(f: Figures, supply: str) -> str:
    cases = [case for name, case in f.items() if name.startswith(f"64 x 200, {supply}")]
    seconds = [case["cpu_seconds"]["median"] for case in cases]
    gap = max(case["worst_gap_percent"] for case in cases)
    span = (
        f"{min(seconds):.2f}" if len(seconds) == 1 else f"{min(seconds):.2f} to {max(seconds):.2f}"
    )
    return f"{span} CPU-seconds, " + ("proven optimal" if gap == 0 else f"gap at most {gap} %")


def _fanout(f: Figures) -> str:
    rounds = [f"{f[f'{n}_peers']['ms_per_round']['median']:.0f}" for n in (16, 64, 256)]
    memory = f["256_peers"]["hub_peak_rss_mib"]
    return f"{' / '.join(rounds)} ms; the hub at 256: {memory:.0f} MiB"


def _late_join(f: Figures) -> str:
    check = f["check_seconds"]["median"] + f["replay_seconds"]["median"]
    return f"{1000 * f['get_seconds']['median']:.0f} ms to fetch, {check:.1f} s to check and replay"


def _overhead(f: Figures, method: str) -> str:
    return f"{f[f'{method} over http']['beyond_ms']['median']:.0f} ms"


def _checkpoint(f: Figures) -> str:
    s3 = f["seconds"]["versitygw"]
    save, load = (
        sum(s3[part]["median"] for part in parts)
        for parts in (("encode", "save"), ("find_newest", "load", "decode"))
    )
    return f"{save:.1f} s / {load:.1f} s"


def _download(f: Figures) -> str:
    peak = f["with_3_broken_connections"]["peak_mb_beyond_process"]["median"]
    return f"{peak:.1f} MB of memory beyond the process, broken connections included"


def _step(f: Figures) -> str:
    found = {
        row["method"]: row
        for row in f["steps"]
        if (row["model"], row["micro_batch"]) == ("llama-1.1b", 4)
    }
    parts = (
        f"{method} {row['step_ms']['median']:.0f} ms, {row['peak_mib'] / 1024:.1f} GiB"
        for method, row in found.items()
    )
    return "; ".join(parts)


def _flexdemo_step(f: Figures) -> str:
    ours, *others = (
        (name, case["cpu_seconds"]["median"], case["bytes_per_kept_coefficient"])
        for name, case in f.items()
        if isinstance(case, Mapping)
    )
    rivals = "; ".join(f"{name} {seconds:.2f}, {size:g} B" for name, seconds, size in others)
    return f"{ours[1]:.2f} CPU-seconds, {ours[2]:g} B a coefficient ({rivals})"


def _wan(f: Figures) -> str:
    found = {row["scheme"]: row["seconds_to_target"] for row in rows(f["curves"], f["timings"])}
    usual, ours = found[REFERENCE], found["DeMo 4/64"]
    parts = (
        f"{line.removesuffix(' Mbit/s')}: {usual[line] / seconds:.1f} times as soon"
        if seconds
        else f"{line}: not reached"
        for line, seconds in ours.items()
    )
    return "; ".join(parts)


def _spsa_step(f: Figures) -> str:
    steps = {step["elements"]: step for step in f["steps"]}
    few, many = steps[4_000_000], steps[25_200_000]
    return " / ".join(
        f"{step['ours_s']['median']:.3f} (MeZO {step['mezo_s']['median']:.3f})"
        for step in (few, many)
    )


ROWS: Final[tuple[tuple[str, str, Callable[[Figures], str]], ...]] = (
    ("operator, a 4-peer job from creation to ready", "operator_load", _operator_job),
    ("operator, 1,000 suspended jobs at rest", "operator_load", _operator_idle),
    (
        "placing 64 peers on 200 nodes, scarce supply",
        "placement",
        lambda f: _placement(f, "scarce"),
    ),
    (
        "… abundant supply, five objectives in order",
        "placement",
        lambda f: _placement(f, "abundant"),
    ),
    (
        "a round of 16-byte records among 16 / 64 / 256 peers, mutual TLS",
        "hub_fanout",
        _fanout,
    ),
    ("joining late, 100,000 records", "late_join", _late_join),
    (
        "a Dec-LoRA round of 4 peers beyond its compute (0.3 MB adapters)",
        "round_overhead",
        lambda f: _overhead(f, "DecLoRA"),
    ),
    (
        "an SPSA round of 4 peers beyond its compute",
        "round_overhead",
        lambda f: _overhead(f, "SPSA"),
    ),
    (
        "FlexDeMo, compress and update 25 million weights for two nodes",
        "flexdemo_step",
        _flexdemo_step,
    ),
    (
        "MiniLM, all weights, two nodes: FlexDeMo against AdamW with whole gradients, time to equal loss by Mbit/s",
        "flexdemo_wan_minilm_full",
        _wan,
    ),
    (
        "SPSA, a step of 4 / 25 million weights beyond its forward passes, CPU-seconds",
        "spsa_step",
        _spsa_step,
    ),
    ("saving / finding and loading a 100 MB state in S3", "checkpoint_time", _checkpoint),
    ("downloading 384 MB from S3", "s3_download", _download),
    (
        "a step of a Llama of 1.1 billion weights, 4 × 512 tokens, fp32, on one H200",
        "step_memory_cuda",
        _step,
    ),
)


def table() -> str:
    """The rows, with the command that measured each."""
    results = [(what, pages.result(name), figure) for what, name, figure in ROWS]
    return pages.table_of(
        ["what", "figure", "command"],
        ([what, figure(one["figures"]), f"`{one['command']}`"] for what, one, figure in results),
    )


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "README.md": table,
    "docs/methods/choosing.md": choosing,
    "docs/methods/declora.md": pages.declora_quality,
    "docs/methods/d2ft.md": pages.d2ft,
    "docs/methods/droppeft.md": droppeft,
    "docs/methods/flexdemo.md": flexdemo,
    "docs/methods/spsa.md": pages.spsa,
}
"""With one table each."""


def within(text: str, rows: str) -> str:
    """A page with its table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{rows}{END}{after}"


if __name__ == "__main__":
    for name, written in PAGES.items():
        path = ROOT / name
        path.write_text(within(path.read_text(), written()))
