"""A line chart as plain SVG: two axes, both logarithmic or not, a few series, a legend. No library, no binary."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 180, 40, 55
COLOURS: Final = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700")


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one line, or marks alone."""

    name: str
    points: Sequence[tuple[float, float]]
    marks_only: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows, and where it is labelled."""

    title: str
    ticks: Sequence[float]
    logarithmic: bool = False

    def place(self, value: float, first: float, last: float) -> float:
        """Return where a value lies between the pixels of the first and the last tick."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, 1e-12))
        return first + (value - low) / (high - low) * (last - first)


def line_chart(title: str, across: Axis, up: Axis, lines: Sequence[Series]) -> str:
    """Return an SVG document."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        f'<text x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(across.title)}</text>',
        f'<text transform="translate(18 {(TOP + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(up.title)}</text>",
    ]
    for tick in across.ticks:
        x = across.place(tick, LEFT, right)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:,g}</text>')
    for tick in up.ticks:
        y = up.place(tick, bottom, TOP)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for number, series in enumerate(lines):
        parts += _drawn(series, number, across, up)
    return "\n".join([*parts, "</svg>", ""])


def _drawn(series: Series, number: int, across: Axis, up: Axis) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    colour = COLOURS[number % len(COLOURS)]
    points = [(across.place(x, LEFT, right), up.place(y, bottom, TOP)) for x, y in series.points]
    drawn = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points]
    if not series.marks_only:
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
    y = TOP + 12 + 20 * number
    drawn.append(f'<circle cx="{right + 16}" cy="{y - 4}" r="4" fill="{colour}"/>')
    drawn.append(f'<text x="{right + 26}" y="{y}">{escape(series.name)}</text>')
    return drawn
