"""`trackio plot`: a picture of metrics, an axis for each key, runs overlaid; PNG, SVG, PDF, or a page.

A line breaks where a value is not finite, and the axis says how many were left out; a point alone between two
breaks is drawn as a dot. A running mean is drawn over the points, never instead of them. Drawn by matplotlib
(extra `plot`), without a window.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import re
from array import array
from typing import Any

from ..api import StoredRun
from .common import UsageError, chosen, entries, labels, need, plain, project_runs, store, tell, warn_damage
from .export import double
from .output import refuse_existing, whole_file
from .text import clean, plural, progress

#: More axes than this are no picture any more.
MOST = 100


class Series:
    """The points of one key of one run, in the order of logging; `odd` of them are not finite numbers."""

    def __init__(self) -> None:
        self.steps, self.times, self.values = array("d"), array("d"), array("d")
        self.stepless = False
        self.odd = 0

    def add(self, step: int | None, seconds: float, value: float) -> None:
        """Append a point."""
        self.stepless = self.stepless or step is None
        self.steps.append(math.nan if step is None else step)
        self.times.append(seconds)
        self.values.append(value)
        self.odd += not math.isfinite(value)


def alone(values: list[float]) -> list[int]:
    """Return the places of finite points without a finite neighbour."""
    there = [math.isfinite(value) for value in values]
    sides = zip([False, *there[:-1]], there, [*there[1:], False], strict=True)
    return [place for place, (left, here, right) in enumerate(sides) if here and not left and not right]


def collect(run: StoredRun, globs: list[str] | None) -> dict[str, Series]:
    """Return the numeric keys of a run. None counts as a number that is not there; texts make no axis."""
    found: dict[str, Series] = {}
    for moment, step, key, raw in progress(entries(run, globs=globs), f"reading {run.name!r}"):
        value = raw if type(raw) is float else double(plain(run, raw))
        if value is None and (raw is not None or key not in found):
            continue
        series = found.get(key)
        if series is None:
            series = found[key] = Series()
        series.add(step, (moment - run.created) / 1e9, math.nan if value is None else value)
    return found


def smoothed(values: Any, weight: float) -> list[float]:
    """Return the exponential running mean, corrected for its beginning; breaks stay where they are."""
    mean, total, line = 0.0, 0.0, []
    for value in values:
        if not math.isfinite(value):
            line.append(math.nan)
            continue
        mean = weight * mean + (1 - weight) * value
        total = weight * total + (1 - weight)
        line.append(mean / total)
    return line


def plot_runs(args: argparse.Namespace) -> int:
    """`trackio plot PROJECT [RUN…] -o FILE`."""
    form = os.path.splitext(args.output)[1].lower().lstrip(".")
    if form not in ("png", "svg", "pdf", "html"):
        raise UsageError(f"{args.output}: the suffix is to be .png, .svg, .pdf or .html")
    if not 0 <= args.smooth < 1:
        raise UsageError("--smooth is from 0 (off) to below 1")
    refuse_existing(args.output, args.force)
    matplotlib = need("matplotlib", "plot")
    runs = project_runs(store(args), args.project)
    if not args.all:
        runs = chosen(runs, args.run) if args.run else runs[-1:]
    found = [collect(run, args.keys) for run in runs]
    for run in runs:
        warn_damage(run)
    keys = list(dict.fromkeys(key for series in found for key in series))
    if not keys:
        raise UsageError(
            "no metric to plot" + (f" has a key like {' or '.join(args.keys)}" if args.keys else "")
        )
    if len(keys) > MOST:
        raise UsageError(f"{len(keys)} keys make no picture; --keys GLOB chooses, up to {MOST}")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "trackio", "path.simplify": True}):
        figure = draw(args, runs, keys, found)
        with whole_file(args.output, args.force) as draft:
            if form == "html":
                from .page import page

                text = page(args.project, runs, keys, found, svg(figure))
                with open(draft, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)
            else:
                # Dates make files differ that show the same.
                dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
                figure.savefig(draft, format=form, metadata=dated)
    tell(f"{plural(len(keys), 'metric')} of {plural(len(runs), 'run')} in {args.output}")
    return 0


def draw(
    args: argparse.Namespace, runs: list[StoredRun], keys: list[str], found: list[dict[str, Series]]
) -> Any:
    """Return the matplotlib figure."""
    figures = need("matplotlib.figure", "plot")
    across = min(3, len(keys))
    down = -(-len(keys) // across)
    figure = figures.Figure(figsize=(max(6.4, 4.8 * across), 3.2 * down + 0.6), layout="constrained", dpi=110)
    axes = figure.subplots(down, across, squeeze=False)
    names = labels(runs)
    for place, key in enumerate(keys):
        _axis(axes[place // across][place % across], args, key, [series.get(key) for series in found])
    for place in range(len(keys), down * across):
        axes[place // across][place % across].set_visible(False)
    if len(runs) > 1:
        from matplotlib.lines import Line2D

        lines = [Line2D([], [], color=f"C{index % 10}") for index in range(len(runs))]
        shown = [_plain(name, 60) for name in names]
        figure.legend(lines, shown, loc="outside lower center", ncols=min(4, len(runs)), frameon=False)
    title = args.project if len(runs) > 1 else f"{args.project} / {names[0]}"
    figure.suptitle(_plain(title, 100))
    return figure


def _plain(text: str, limit: int) -> str:
    # A dollar begins a formula in matplotlib.
    text = clean(text).replace("$", r"\$")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _axis(axis: Any, args: argparse.Namespace, key: str, shown: list[Series | None]) -> None:
    stepless = any(series.stepless for series in shown if series is not None)
    odd = hidden = 0
    for index, series in enumerate(shown):
        if series is None:
            continue
        if args.x == "time":
            x: Any = series.times
        else:
            x = range(len(series.values)) if stepless else series.steps
        values = [value if math.isfinite(value) else math.nan for value in series.values]
        if args.log:
            hidden += sum(value <= 0 for value in values)
            values = [value if value > 0 else math.nan for value in values]
        odd += series.odd
        color = f"C{index % 10}"
        faint = 0.3 if args.smooth else 1.0
        dots = alone(values)
        axis.plot(x, values, color=color, alpha=faint, linewidth=1.2, marker=".", markevery=dots)
        if args.smooth:
            axis.plot(x, smoothed(values, args.smooth), color=color, linewidth=1.8)
    if args.log:
        axis.set_yscale("log")
    axis.set_title(_plain(key, 60), fontsize="medium", loc="left")
    axis.set_xlabel("seconds" if args.x == "time" else "point" if stepless else "step", fontsize="small")
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize="small")
    parts = [f"{odd} not finite"] * bool(odd) + [f"{hidden} not above 0"] * bool(hidden)
    if parts:
        axis.set_title(", ".join(parts) + ": gaps", fontsize="x-small", loc="right", color="firebrick")


def svg(figure: Any) -> str:
    """Return the figure as an SVG element for a page: without prologue, metadata, or an address."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # In a page the names of the name spaces are known.
    return re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text, count=2)
