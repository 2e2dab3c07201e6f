"""The page of `trackio plot -o FILE.html`: one file that needs neither a script nor a network."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from ..api import StoredRun
from .common import labels
from .text import brief, clean, moment

if TYPE_CHECKING:
    from .plot import Series

_STYLE = """
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 90rem; padding: 0 1rem; background: #fff; color: #222;
       font: 16px/1.5 system-ui, sans-serif; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
"""


def page(
    project: str, runs: list[StoredRun], keys: list[str], found: list[dict[str, Series]], svg: str
) -> str:
    """Return the page: the picture, which runs it shows, and the last values as a table."""
    title = _text(project)
    names = labels(runs)
    rows = [
        f"<tr><td>{_text(name)}</td><td>{_text(run.id)}</td><td>{run.status}</td>"
        f"<td>{moment(run.created)}</td></tr>"
        for name, run in zip(names, runs, strict=True)
    ]
    heads = "".join(f'<th class="n">{_text(name)}</th>' for name in names)
    lasts = []
    for key in keys:
        cells = [brief(series[key].values[-1]) if key in series else "—" for series in found]
        lasts.append(
            f"<tr><td>{_text(key)}</td>" + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"
        )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{_STYLE}</style></head>
<body>
<h1>{title}</h1>
<figure role="img" aria-label="metrics of {title}" style="margin:0">
{svg}
</figure>
<h2>Runs</h2>
<table><tr><th>run</th><th>id</th><th>status</th><th>started</th></tr>
{chr(10).join(rows)}
</table>
<h2>Last values</h2>
<table><tr><th>metric</th>{heads}</tr>
{chr(10).join(lasts)}
</table>
</body>
</html>
"""


def _text(text: str) -> str:
    return html.escape(clean(text))
