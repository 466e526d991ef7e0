"""Scales and marks, as text of SVG. Colours are classes, which ``page.css`` gives for light, dark and paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Scale:
    """From values in [``low``, ``high``] to places in [``start``, ``end``], in pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, log: bool = False) -> Scale:
        """One that holds all ``values``, with some air; logarithmic where ``log`` allows it and they span much."""
        known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(known), max(known)
        if log and low > 0 and high > 8 * low:
            return cls(low / 1.15, high * 1.15, start, end, log=True)
        air = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        return cls(low - air if low < 0 or low - air > 0 else 0.0, high + air, start, end)

    def __call__(self, value: float) -> float:
        """Rounded to a tenth: what a reader can't see need not be in the file."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values, about five; none on a scale without extent."""
        if self.low == self.high:
            return []
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1,) if len(decades) > 5 else (1, 2, 5)
            return [v for v in (s * 10.0**d for d in decades for s in steps) if self.low <= v <= self.high]
        rough = (self.high - self.low) / 5
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(s * size for s in (1, 2, 5, 10) if s * size >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def number(value: float | None) -> str:
    """As short as it stays telling."""
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" class="{kind}"/>'


def path(points: Sequence[tuple[float, float]], kind: str, title: str = "") -> str:
    """Straight from point to point."""
    way = "L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path d="M{way}" class="{kind}">{_title(title)}</path>'


def dot(x: float, y: float, kind: str, title: str = "", radius: float = 3) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" class="{kind}">{_title(title)}</circle>'


def box(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    place = f'x="{x:g}" y="{y:g}" width="{max(width, 0):g}" height="{max(height, 0):g}"'
    return f'<rect {place} class="{kind}">{_title(title)}</rect>'


def drawing(width: float, height: float, marks: Iterable[str], label: str) -> str:
    """A whole picture, which ``label`` says in words to who can't see it."""
    view = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}"'
    return f'<svg {view} style="max-width:{width:g}px">{"".join(marks)}</svg>'


def axes(x: Scale, y: Scale, below: str, beside: str) -> list[str]:
    """Grid lines, numbers and what they are of."""
    marks = []
    for value in x.ticks():
        marks += [line(x(value), y.start, x(value), y.end, "grid")]
        marks += [text(x(value), y.start + 16, number(value), "tick", "middle")]
    for value in y.ticks():
        marks += [line(x.start, y(value), x.end, y(value), "grid")]
        marks += [text(x.start - 6, y(value) + 4, number(value), "tick", "end")]
    marks += [text(x.end, y.start + 32, below, "label", "end"), text(x.start - 40, y.end - 8, beside, "label")]
    return marks


def _title(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""
