"""Small pieces of SVG: elements, scales, a frame with axes. Colours are classes, so that the page's style
sheet decides them for light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Final

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_LEAST_EXTENT: Final = 1e-9
"""Of an axis, beside the values on it: less is lost in their rounding."""


def plain(value: object) -> str:
    """Text that is safe between tags and in attributes, whoever wrote it."""
    return escape(
        "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in f"{value}")
    )


def element(tag: str, *content: str, **attributes: object) -> str:
    """``content`` is markup already; attributes are escaped. ``class_`` is class, ``text_anchor`` text-anchor."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{given}>{''.join(content)}</{tag}>"


def label(x: float, y: float, content: object, **attributes: object) -> str:
    """Text at a point."""
    return element("text", plain(content), x=x, y=y, **attributes)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> str:
    """A line through the points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element("polyline", points=path, class_=class_)


def _attribute(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else plain(value)


@dataclass(frozen=True, slots=True)
class Scale:
    """From figures to places, in a straight line."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of ``value``; in the middle if the scale has no extent."""
        extent = self.high - self.low
        part = (value - self.low) / extent if extent else 0.5
        return self.start + part * (self.end - self.start)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round figures in ``[low, high]``, ``about`` so many, 1-2-2.5-5 apart; one where no label could tell two apart."""
    if not high - low > _LEAST_EXTENT * max(abs(low), abs(high)):
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in _STEPS if step * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def round_ticks(first: int, last: int, about: int = 8) -> list[int]:
    """The whole ones of ``ticks``."""
    return [int(tick) for tick in ticks(first, last, about) if tick == int(tick)] or [first]


@dataclass(frozen=True, slots=True)
class Frame:
    """The drawing area of a chart, in user units of its view box."""

    width: float = 500.0
    height: float = 220.0
    left: float = 52.0
    right: float = 14.0
    top: float = 10.0
    bottom: float = 30.0

    def across(self, low: float, high: float) -> Scale:
        """Scale of x."""
        return Scale(low, high, self.left, self.width - self.right)

    def up(self, low: float, high: float) -> Scale:
        """Scale of y."""
        return Scale(low, high, self.height - self.bottom, self.top)

    def grid(self, up: Scale, show: Callable[[float], str], about: int = 4) -> str:
        """Horizontal lines with their figures."""
        return "".join(
            element(
                "line",
                x1=self.left,
                x2=self.width - self.right,
                y1=up(tick),
                y2=up(tick),
                class_="grid",
            )
            + label(self.left - 8, up(tick) + 4, show(tick), class_="tick", text_anchor="end")
            for tick in ticks(up.low, up.high, about)
        )

    def rounds(self, across: Scale) -> str:
        """The axis below, in rounds."""
        base = self.height - self.bottom
        numbers = "".join(
            label(across(tick), base + 17, tick, class_="tick", text_anchor="middle")
            for tick in round_ticks(math.ceil(across.low), math.floor(across.high))
        )
        axis = element(
            "line", x1=self.left, x2=self.width - self.right, y1=base, y2=base, class_="axis"
        )
        return axis + numbers

    def drawing(self, title: str, summary: str, *content: str) -> str:
        """The SVG, with a title and a description for those who do not see it."""
        return element(
            "svg",
            element("title", plain(title)),
            element("desc", plain(summary)),
            *content,
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            role="img",
            class_="chart",
        )
