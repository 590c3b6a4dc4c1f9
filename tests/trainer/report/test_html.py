"""The report is one sound, self-contained file, whatever the names in it are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_cases import a_job, a_progress, a_verdict, some_events

from haversack_trainer.contract.jobfile import MethodChoice
from haversack_trainer.contract.report import PeerReport, RunProgress
from haversack_trainer.report.events import Event, PeerLeft, RoundClosed
from haversack_trainer.report.html import render

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\x1b"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What is in a page; refuses tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def cases() -> dict[str, str]:
    failed = a_progress(verdict=a_verdict(passed=False), published=False)
    fresh = RunProgress(run="team.triage.0a1b2c3d", rounds=40)
    first: list[Event] = [
        RoundClosed(time=1.0, round=0, members=(0,), losses={0: None}, payload_bytes=0)
    ]
    return {
        "published": render(a_job(), a_progress(), some_events()),
        "gate failed": render(a_job(), failed, some_events()),
        "without events": render(a_job(), a_progress(), []),
        "not begun": render(a_job(), fresh, []),
        "one round": render(a_job(), fresh, first),
        "hostile": hostile(),
        "many peers": many(),
    }


def hostile() -> str:
    progress = a_progress().model_copy(update={
        "run": HOSTILE, "head": HOSTILE, "peers": (PeerReport(peer=0, node=HOSTILE),),
        "verdict": a_verdict().model_copy(update={"reason": HOSTILE}),
    })  # fmt: skip
    job = a_job().model_copy(update={"job": HOSTILE})
    return render(
        job, progress, [*some_events(), PeerLeft(time=1.0, peer=1, round=3, reason=HOSTILE)]
    )


def many() -> str:
    peers = tuple(range(200))
    events = [
        RoundClosed(
            time=float(at),
            round=at,
            members=peers,
            losses=dict.fromkeys(peers, 1.0 / (at + 1)),
            payload_bytes=at,
        )
        for at in range(50)
    ]
    return render(a_job(), a_progress(), events)


def test_the_page_says_how_much_of_the_exchange_was_hidden() -> None:
    timed = RoundClosed(
        time=1.0, round=0, members=(0,), payload_bytes=9, exchange_seconds=4.0, waited_seconds=1.0
    )
    page = render(a_job(), a_progress(), [timed])
    assert "An exchange took 4.0 s, 75% of it hidden behind compute." in page
    assert "hidden behind compute" not in cases()["one round"]


@pytest.mark.parametrize("name", cases())
def test_the_page_is_sound_and_loads_nothing(name: str) -> None:
    page = Page(cases()[name])
    assert not {"script", "iframe", "img", "object", "embed"} & set(page.tags)
    loads = [
        value
        for key, value in page.attributes
        if key in {"src", "href", "srcset", "xlink:href", "action"}
    ]
    assert loads == ["data:,"]
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert "url(" not in cases()[name]
    assert "@import" not in cases()[name]


@pytest.mark.parametrize("name", cases())
def test_every_picture_has_a_title_and_a_description(name: str) -> None:
    charts = re.findall(r"<svg [^>]*role=\"img\".*?</svg>", cases()[name], re.DOTALL)
    assert all(
        re.match(r"<svg [^>]*><title>[^<]+</title><desc>[^<]+</desc>", chart) for chart in charts
    )
    assert len(charts) >= (0 if name == "not begun" else 2)


def test_what_readers_come_for_is_there() -> None:
    text = Page(cases()["published"]).text
    for figure in (
        "Published",
        "14.3% →",
        "81.8%",
        "0.622",
        "11.3 MB",
        "40 of 40",
        "3 min 10 s",
        "pi-rack-3",
        "5f" * 32,
    ):
        assert figure in text
    assert "lower than the linear probe" in text
    assert "method.settings.graph.type" in text


def test_states_are_named() -> None:
    assert "Gate failed" in Page(cases()["gate failed"]).text
    assert "Running" in Page(cases()["not begun"]).text
    waiting = a_progress(published=False)
    assert "Passed, not published yet" in Page(render(a_job(), waiting, [])).text


def test_a_password_in_an_address_is_not_shown() -> None:
    job = a_job()
    s3 = job.storage.s3.model_copy(update={"endpoint": "http://user:hunter2@store:9000"})
    job = job.model_copy(update={"storage": job.storage.model_copy(update={"s3": s3})})
    page = render(job, a_progress(), [])
    assert "hunter2" not in page
    assert "http://…@store:9000" in page


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_no_name_gets_out_of_its_place(name: str) -> None:
    progress = a_progress().model_copy(update={"peers": (PeerReport(peer=0, node=name),)})
    page = Page(render(a_job(), progress, []))
    plain = Page(
        render(
            a_job(), a_progress().model_copy(update={"peers": (PeerReport(peer=0, node="n"),)}), []
        )
    )
    assert page.tags == plain.tags


def browser() -> str:
    """A browser, or a skip; in CI there must be one."""
    for name in ("chromium", "google-chrome", "chrome", "chromium-browser"):
        if found := shutil.which(name):
            return found
    told = "no chromium or chrome on PATH to open the report in"
    if os.environ.get("CI"):
        pytest.fail(told)
    pytest.skip(told)


def opened(page: str, folder: Path) -> tuple[str, list[str]]:
    """The document as the browser understood it, and what its console said."""
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    command = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom",
        path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=90, check=True)
    console = [
        line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line
    ]
    return done.stdout.decode(), console


@pytest.mark.parametrize("name", ["published", "hostile", "many peers"])
def test_a_browser_shows_it_without_complaint(name: str, tmp_path: Path) -> None:
    document, console = opened(cases()[name], tmp_path)
    assert console == []
    assert document.count("<svg") == 1 + 5
    assert "<script" not in document


def test_a_complaint_of_the_browser_would_be_seen(tmp_path: Path) -> None:
    page = cases()["published"].replace("</body>", "<script>alert(1)</script></body>")
    _, console = opened(page, tmp_path)
    assert "Content Security Policy" in "".join(console)


def test_settings_that_are_not_set_are_not_shown() -> None:
    job = a_job()
    bare = job.model_copy(
        update={
            "method": MethodChoice(type="DecLoRA", settings={"graph": "Ring", "edgePercent": None})
        }
    )
    page = render(bare, a_progress(), some_events())
    assert "method.settings.graph" in page
    assert "edgePercent" not in page
