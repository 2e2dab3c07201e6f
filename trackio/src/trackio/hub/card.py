"""The dataset's card and the view `experiments`, which has the ten columns of this project's origin."""

from __future__ import annotations

import time
from typing import Any

import orjson

from ..api import StoredRun
from ..journal import ends, journals
from .shards import TABLES, _shown
from .texts import Hide

VIEW = "experiments"

#: The view holds so many logs of a run at most, evenly spaced, the first and the last included; a run of a
#: million would otherwise be sent a second time as text. `metrics` has them all.
LOGS = 100

CONFIGS = [
    {"config_name": name, "data_files": f"{name}/**/*.parquet", **({"default": True} if not place else {})}
    for place, name in enumerate((*TABLES, VIEW))
]

#: Prose of the card; `{repo}` is filled in.
_TEXT = """
# Runs

Written by `trackio`, the reference tracker of trl-conformance.

```python
from datasets import load_dataset

load_dataset("{repo}")  # every value of every run
load_dataset("{repo}", "runs")  # who wrote, configuration, status, artifacts
```

`metrics`, `tables` (tables, images, traces, histograms) and `system` (readings of the machine) have the
columns `run_id, writer, seq, place, time, step, key, value, json`; `json` is the exact value where the double
in `value` is not. `experiments` has a row per run, written when it begins and when it ends. A table that
nothing was logged to is not there.

`trackio pull {repo}` brings the runs back as they were. While a run goes on, its latest records are in
`pending/` first and come into the tables together, half an hour later at the usual pace, and when it ends; a
pull has them at once. A file of rows is never changed; many are made one when a run ends. `files/` holds
contents by their SHA-256.
"""


def pointer(repo: str) -> dict[str, bytes]:
    """Return the files of a static Space that says where the runs are."""
    url = f"https://huggingface.co/datasets/{repo}"
    page = (
        f'<!doctype html><meta charset="utf-8"><title>{repo}</title>'
        f'<p>The runs are in the dataset <a href="{url}" target="_blank">{repo}</a>.'
    )
    head = f"---\ntitle: {repo.partition('/')[2]}\nsdk: static\npinned: false\ntags:\n- trackio\n---\n"
    return {"README.md": f"{head}\nThe runs are in the dataset {url}\n".encode(), "index.html": page.encode()}


def new_card(repo: str) -> str:
    """Return the text of a card for a new repository."""
    lines = ["---", "tags:", "- trackio", "configs:"]
    for config in CONFIGS:
        lines += [f"- config_name: {config['config_name']}", f'  data_files: "{config["data_files"]}"']
        lines += ["  default: true"] if "default" in config else []
    return "\n".join([*lines, "---", _TEXT.format(repo=repo)])


def extended(card: Any) -> str | None:
    """Return the text of a `huggingface_hub.DatasetCard` with our tables in it, None if they are there.

    What else the card says stays; a table of one of our names stays as it is.
    """
    configs = list(getattr(card.data, "configs", None) or [])
    names = {config.get("config_name") for config in configs}
    missing = [dict(config) for config in CONFIGS if config["config_name"] not in names]
    if not missing:
        return None
    if any(config.get("default") for config in configs):
        for config in missing:
            config.pop("default", None)
    card.data.configs = configs + missing
    return str(card)


def experiment(run: StoredRun, run_id: str, hide: Hide) -> tuple[str, ...]:
    """Return the row of a run in the view. Damaged records are passed over. Raises OSError."""
    logs: list[tuple[int, Any, Any]] = []
    config: dict[str, Any] = {}
    artifacts: list[Any] = []
    moment = run.created
    for _, moment, kind, step, body in run.records():
        if kind == "log":
            logs.append((moment, step, body))
        elif kind == "cfg" and type(body) is dict:
            config.update(body)
        elif kind == "file":
            artifacts.append({part: body.get(part) for part in ("name", "type", "version", "aliases")})
    if len(logs) > LOGS:
        logs = [logs[place * (len(logs) - 1) // (LOGS - 1)] for place in range(LOGS)]
    metrics = [{"timestamp": _iso(when), "step": step, "metrics": body} for when, step, body in logs]
    # What the journals say; whether a process is still alive is no business of a dataset.
    found = [(at, status) for _, status, at in map(ends, journals(run.folder)) if status is not None]
    status = max(found, key=lambda pair: pair[0])[1] if found else "running"
    cells = [run_id, _shown(run.name), f"project {_shown(run.project)}", _iso(run.created), str(status)]
    cells += [orjson.dumps(part).decode() for part in (metrics, config, artifacts, [])]
    return tuple(map(hide, [*cells, _iso(moment)]))


def _iso(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1000:06d}+00:00"
