"""Text for terminals and for pipes: tables, numbers, moments, sparklines, progress.

On a terminal `rich` draws (extra `cli`); without it, and wherever the output is no terminal, the same cells
come as plain columns without a colour code, cut to `$COLUMNS` only if that is set.
"""

from __future__ import annotations

import math
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from ..arrays import Array
from ..values import Marker

T = TypeVar("T")

#: Seconds after which a long work shows that it goes on.
PATIENCE = 2.0


def clean(text: str) -> str:
    """Return text that one line of a terminal shows as it is: no control, no half character."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def rich_console(stream: Any) -> Any:
    """Return a rich console for a stream that is a terminal, None where there is no rich or no terminal."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False)


def is_unicode() -> bool:
    """Tell whether stdout can show any character."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")


def columns() -> int | None:
    """Return how wide the output may be: `$COLUMNS`, else the terminal; None where nothing says so."""
    if (columns := os.environ.get("COLUMNS", "")).isdigit() and int(columns):
        return int(columns)
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def _wide(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _cut(text: str, width: int) -> str:
    if _wide(text) <= width:
        return text
    end = "…" if is_unicode() else "~"
    while text and _wide(text) + 1 > width:
        text = text[:-1]
    return text + end


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> Any:
    """Return a table of texts to `show`; the columns named in `right` are set to the right."""
    return [list(head), [[clean(cell) for cell in row] for row in rows], set(right)]


def drawn(parts: Any) -> Any:
    """Return a table as rich draws it."""
    from rich.table import Table
    from rich.text import Text

    head, rows, right = parts
    drawing = Table(box=None, pad_edge=False, header_style="bold")
    for name, *column in zip(head, *rows, strict=True):
        # A number without its end would be another number: only texts are cut.
        least = max(map(_wide, [name, *column])) if name in right else None
        drawing.add_column(
            name,
            justify="left" if least is None else "right",
            no_wrap=True,
            overflow="ellipsis",
            min_width=least,
        )
    for row in rows:
        drawing.add_row(*map(Text, row))
    return drawing


def show(parts: Any) -> None:
    """Print a table."""
    if (console := rich_console(sys.stdout)) is not None:
        console.print(drawn(parts))
        return
    head, rows, right = parts
    widths = [max(map(_wide, column)) for column in zip(head, *rows, strict=True)]
    limit = columns()
    # A number without its end would be another number: only texts are cut.
    texts = [place for place, name in enumerate(head) if name not in right]
    while limit and texts and sum(widths) + 2 * (len(widths) - 1) > limit:
        widest = max(texts, key=widths.__getitem__)
        if widths[widest] <= 4:
            break
        widths[widest] -= 1
    for row in [head, *rows]:
        cells = [_cut(cell, width) for cell, width in zip(row, widths, strict=True)]
        pads = [" " * (width - _wide(cell)) for cell, width in zip(cells, widths, strict=True)]
        line = (
            pad + cell if name in right else cell + pad
            for name, cell, pad in zip(head, cells, pads, strict=True)
        )
        print("  ".join(line).rstrip())


def number(value: Any) -> str:
    """Return a number with six digits; a whole one in full up to 64 bits."""
    if type(value) is float:
        return f"{value:.6g}"
    if isinstance(value, int) and value.bit_length() > 64:
        from decimal import Decimal  # of any size, where `str` stops (sys.set_int_max_str_digits)

        return f"{Decimal(int(value)):.6g}"
    return str(value)


def brief(value: Any, limit: int = 40) -> str:
    """Return any value in one short line."""
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, Array):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, Marker):
        value = f"<{value.kind} {value.type}>"
    text = value if isinstance(value, str) else "none" if value is None else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def moment(nanoseconds: int) -> str:
    """Return a moment in local time, to the second; empty for 0."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(nanoseconds // 10**9)) if nanoseconds else ""
    except (OverflowError, ValueError, OSError):  # a clock of centuries away
        return str(nanoseconds)


def iso(nanoseconds: int) -> str:
    """Return a moment as ISO 8601 in UTC with all nine digits."""
    seconds, rest = divmod(nanoseconds, 10**9)
    try:
        return f"{_second(seconds)}.{rest:09d}Z"
    except (OverflowError, ValueError, OSError):
        return str(nanoseconds)


_seconds: dict[int, str] = {}


def _second(seconds: int) -> str:
    # Most records share their second with the one before.
    if (text := _seconds.get(seconds)) is None:
        _seconds.clear()
        text = _seconds[seconds] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return text


def plural(count: int, name: str) -> str:
    """Return a count and what is counted."""
    return f"{count} {name}{'s' * (count != 1)}"


def duration(nanoseconds: int) -> str:
    """Return a duration short: `4.2s`, `3m 07s`, `2h 05m`, `3d 04h`."""
    seconds = nanoseconds / 1e9
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, second = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {second:02d}s"
    hours, minute = divmod(minutes, 60)
    return f"{hours}h {minute:02d}m" if hours < 24 else f"{hours // 24}d {hours % 24:02d}h"


def spark(values: Sequence[float | None]) -> str:
    """Return one character a value: its height, `x` for what is not finite, a space for None."""
    levels = "▁▂▃▄▅▆▇█" if is_unicode() else ".:-=+*#@"
    finite = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    # Halved: the distance of two finite doubles may not be finite.
    span = high / 2 - low / 2
    line = ""
    for value in values:
        if value is None:
            line += " "
        elif not math.isfinite(value):
            line += "x"
        else:
            place = (value / 2 - low / 2) / span if span else 0.5
            line += levels[min(7, int(place * 8))]
    return line


def progress(items: Iterable[T], what: str) -> Iterator[T]:
    """Yield `items`; if that lasts and stderr is a terminal, say there how many it were so far."""
    console = rich_console(sys.stderr)
    if console is None:
        yield from items
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    begin, count, bar = time.monotonic(), 0, Progress(*columns, console=console, transient=True)
    task = bar.add_task(what)
    try:
        for item in items:
            yield item
            count += 1
            if count & 1023 == 0 and time.monotonic() - begin > PATIENCE:
                bar.start()
                bar.update(task, description=f"{what}: {count:,}")
    finally:
        bar.stop()


@contextmanager
def byte_progress(what: str) -> Iterator[Callable[[int, int], object] | None]:
    """Give a `progress(done_bytes, total_bytes)` that draws a bar on stderr, None where that is no terminal.

    Who calls it decides when a work is long.
    """
    console = rich_console(sys.stderr)
    if console is None:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(what)

    def advance(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        bar.stop()
