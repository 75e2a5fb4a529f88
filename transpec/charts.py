"""Charts of a report as inline SVG: curves and maps that load nothing, need no script, and follow the page's colours.

Only lines, ticks and shaded cells are needed; a plotting library would weigh more than everything else transpec installs
beside torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from transpec.report import visible

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 28, 62
COLOURS = ("#1b6ca8", "#c2571a", "#2e7d4f", "#8e44ad", "#b8860b", "#5d6d7e")


def svg(plot: Mapping[str, Any]) -> Markup:
    """The drawing of one plot of a report."""
    body = _curve(plot) if plot["kind"] == "curve" else _image(plot)
    label = visible(plot["title"])
    return Markup(
        '<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}" '
        'font-family="sans-serif" font-size="11" fill="currentColor"><title>{2}</title>'
        '<text x="{3}" y="16" font-weight="bold">{2}</text>{4}</svg>'
    ).format(WIDTH, HEIGHT, label, LEFT, Markup("").join(body))


class _Axis:
    """From numbers to places on the page, straight or logarithmic."""

    def __init__(self, numbers: Sequence[float | None], start: float, end: float, *, log: bool) -> None:
        usable = [number for number in numbers if number is not None and (number > 0 or not log)]
        low, high = (min(usable), max(usable)) if usable else (0.0, 1.0)
        self.log, self.start, self.end = log and low > 0, start, end
        if low == high:
            low, high = (low / 2, high * 2) if self.log else (low - 0.5, high + 0.5)
        self.low, self.high = (math.log10(low), math.log10(high)) if self.log else (low, high)

    def place(self, number: float | None) -> float | None:
        if number is None or (self.log and number <= 0):
            return None
        at = math.log10(number) if self.log else number
        return round(self.start + (self.end - self.start) * (at - self.low) / (self.high - self.low), 1)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)
            apart = max(1, (last - first) // 5)
            return [10.0**power for power in range(first, last + 1, apart)] or [10**self.low, 10**self.high]
        rough = (self.high - self.low) / 4
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [step * i for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _text(x: float, y: float, text: str, anchor: str = "middle", extra: str = "") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(x, y, anchor, Markup(extra), visible(text))


def _curve(plot: Mapping[str, Any]) -> list[Markup]:
    series: Mapping[str, Sequence[Sequence[float | None]]] = plot["series"]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    x = _Axis([n for xs, _ in series.values() for n in xs], LEFT, right, log=plot.get("log_x", False))
    y = _Axis([n for _, ys in series.values() for n in ys], bottom, TOP, log=plot.get("log_y", False))
    parts = [Markup('<path d="M{0} {1}V{2}H{3}" fill="none" stroke="currentColor" opacity=".5"/>').format(
        LEFT, TOP, bottom, right)]  # fmt: skip
    for tick in x.ticks():
        parts.append(_text(x.place(tick) or 0, bottom + 14, f"{tick:g}"))
    for tick in y.ticks():
        at = y.place(tick) or 0
        parts += [
            Markup('<path d="M{} {}H{}" stroke="currentColor" opacity=".12"/>').format(LEFT, at, right),
            _text(LEFT - 5, at + 4, f"{tick:g}", "end"),
        ]
    parts.append(_text((LEFT + right) / 2, bottom + 30, plot["x_label"]))
    middle = (TOP + bottom) / 2
    parts.append(_text(14, middle, plot["y_label"], extra=f' transform="rotate(-90 14 {middle:g})"'))
    room = (WIDTH - LEFT) / max(1, len(series))
    for index, (name, (xs, ys)) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        placed = [(x.place(a), y.place(b)) for a, b in zip(xs, ys, strict=True)]
        points = " ".join(f"{a},{b}" for a, b in placed if a is not None and b is not None)
        parts.append(
            Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="1.8"/>').format(points, colour)
        )
        at, line = LEFT + index * room, HEIGHT - 14
        parts.append(Markup('<path d="M{} {}h14" stroke="{}" stroke-width="3"/>').format(at, line, colour))
        parts.append(_text(at + 18, line + 4, name, "start"))
    return parts


def _image(plot: Mapping[str, Any]) -> list[Markup]:
    matrix: Sequence[Sequence[float | None]] = plot["matrix"]
    rows, columns = len(matrix), max(map(len, matrix), default=0)
    if not rows or not columns:
        return []
    size = min((WIDTH - LEFT - RIGHT - 30) / columns, (HEIGHT - TOP - BOTTOM) / rows)
    left, top = LEFT + 30, TOP
    largest = max((value for row in matrix for value in row if value is not None), default=0.0) or 1.0
    parts = [
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}" fill-opacity="{:.3f}"/>').format(
            left + j * size, top + i * size, size, size, COLOURS[0], max(0.0, value) / largest
        )
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
        if value is not None
    ]
    parts.append(
        Markup('<rect x="{}" y="{}" width="{:.1f}" height="{:.1f}" fill="none" stroke="currentColor"/>').format(
            left, top, size * columns, size * rows
        )
    )
    for i, name in enumerate(plot.get("y_ticks", ())):
        parts.append(_text(left - 4, round(top + (i + 0.5) * size + 4, 1), name, "end"))
    for j, name in enumerate(plot.get("x_ticks", ())):
        at, below = round(left + (j + 0.5) * size, 1), round(top + rows * size + 10, 1)
        parts.append(_text(at, below, name, "end", f' transform="rotate(-45 {at} {below})"'))
    return parts
