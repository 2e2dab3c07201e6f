"""`trackio list`, `show` and `compare`: what there is, in the terminal or as JSON."""

from __future__ import annotations

import argparse
import time
from typing import Any

import orjson

from ..api import StoredRun
from ..values import Decoder, Encoder
from .common import (
    UsageError,
    chosen,
    entries,
    is_rich_record,
    labels,
    plain,
    project_runs,
    store,
    tell,
    warn_damage,
)
from .summary import WIDTH, Metric, Summary
from .text import brief, columns, duration, iso, moment, number, plural, progress, show, spark, table


def dump(value: Any) -> None:
    """Print JSON; what JSON cannot say is written as in the journal, NaN as `{"$": "float", "v": "nan"}`."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _span(summary: Summary, status: str) -> int:
    end = time.time_ns() if status == "running" else summary.latest
    return max(0, end - (summary.first or end))


def facts(summary: Summary, status: str) -> dict[str, Any]:
    """Return what identifies a run and how far it came: `duration` in seconds, `started` in ISO 8601."""
    run = summary.run
    return {
        "project": Encoder()(run.project),
        "run": Encoder()(run.name),
        "id": run.id,
        "status": status,
        "points": summary.points,
        "step": summary.step,
        "started": iso(run.created),
        "duration": _span(summary, status) / 1e9,
        "folder": Encoder()(run.folder),
    }


def list_runs(args: argparse.Namespace) -> int:
    """`trackio list [PROJECT]`. Points are values of metrics, tables and media; steps is the highest step."""
    api = store(args)
    if args.project is not None:
        runs = project_runs(api, args.project)
    else:
        runs = [run for project in api.projects() for run in api.runs(project)]
    if not runs and not args.json:
        tell(f"no runs in {api.root} (--root or $TRACKIO_DIR names another folder)")
    rows, found = [], []
    for run in runs:
        summary = Summary(run, [])
        summary.read(progress(run.records(), f"reading {run.name!r}"))
        warn_damage(run)
        status = run.status
        found.append(facts(summary, status))
        steps = "" if summary.step is None else str(summary.step)
        span = duration(_span(summary, status))
        rows.append([run.project, run.name, status, str(summary.points), steps, moment(run.created), span])
    if args.json:
        dump(found)
    elif rows:
        head = ["project", "run", "status", "points", "steps", "started", "duration"]
        show(table(head, rows, ["points", "steps", "duration"]))
    return 0


def headline(summary: Summary, status: str) -> str:
    """Return the line above a run's table."""
    run = summary.run
    parts = [f"{run.project} / {run.name}", status, f"{summary.points} points"]
    if summary.step is not None:
        parts.append(f"step {summary.step}")
    return "   ".join([*parts, f"started {moment(run.created)}", duration(_span(summary, status))])


def metrics_table(summary: Summary) -> Any:
    """Return the table with one line per metric."""
    width = WIDTH if (columns() or 120) >= 100 else WIDTH // 2
    head = ["metric", "last", "min", "max", "mean", "count", "trend", "not finite"]
    rows = []
    for key, metric in summary.metrics.items():
        low, high, mean = (
            "" if value is None else brief(value, 24) for value in (metric.low, metric.high, metric.mean)
        )
        trend = spark(metric.trend.line(width))
        rows.append([key, brief(metric.last, 24), low, high, mean, str(metric.count), trend, metric.odd()])
    return table(head, rows, ["last", "min", "max", "mean", "count"])


def metric_json(metric: Metric) -> dict[str, Any]:
    """Return a metric as values that JSON can say."""
    encode = Encoder()
    parts = {
        name: encode(getattr(metric, name))
        for name in ("last", "last_step", "low", "low_step", "high", "high_step")
    }
    renamed = {name.replace("low", "min").replace("high", "max"): value for name, value in parts.items()}
    odd = {"nan": metric.nan, "inf": metric.infinite, "none": metric.none, "other": metric.other}
    return {**renamed, "mean": encode(metric.mean), "count": metric.count, **odd}


def show_run(args: argparse.Namespace) -> int:
    """`trackio show PROJECT [RUN]`."""
    runs = project_runs(store(args), args.project)
    run = chosen(runs, [args.run])[0] if args.run is not None else runs[-1]
    if args.follow:
        from .follow import follow

        return follow(run, args.keys, args.json, args.interval)
    summary = Summary(run, args.keys).read(progress(run.records(), "reading"))
    system = Summary(run, args.keys, system=True).read() if args.system else None
    warn_damage(run)
    status = run.status
    if args.json:
        return _show_json(args, summary, system, status)
    from .text import clean

    print(clean(headline(summary, status)))
    if summary.metrics:
        show(metrics_table(summary))
    if summary.rich and not (args.tables or args.media):
        names = ", ".join(f"{key} ({count})" for key, (count, _) in summary.rich.items())
        print(clean(f"also logged: {names}; --tables and --media show them"))
    if args.config:
        _title("config")
        rows = [[key, brief(plain(run, raw), 200)] for key, raw in summary.config.items()]
        show(table(["key", "value"], rows))
    if system is not None:
        _title("system")
        show(metrics_table(system))
    if args.tables:
        _tables(run, args.keys, args.rows)
    if args.media:
        _media(run, args.keys)
    return 0


def _title(text: str) -> None:
    print(f"\n{text}")


def _tables(run: StoredRun, globs: list[str] | None, limit: int) -> None:
    from .text import clean

    latest: dict[str, tuple[int | None, Any, int]] = {}
    for _, step, key, raw in entries(run, globs=globs):
        if is_rich_record(raw) and type(raw) is dict and raw["$"] == "table":
            latest[key] = (step, raw, latest[key][2] + 1 if key in latest else 1)
    for key, (step, raw, count) in latest.items():
        value = plain(run, raw)
        rows = value.rows
        more = f", the first {limit}" if len(rows) > limit else ""
        where = "" if step is None else f" at step {step}"
        _title(clean(f"{key}: {plural(count, 'table')}, the last{where}: {plural(len(rows), 'row')}{more}"))
        width = len(value.columns)
        cells = [[brief(cell, 60) for cell in [*row, *[""] * width][:width]] for row in rows[:limit]]
        show(table([clean(brief(name)) for name in value.columns], cells))


def _media(run: StoredRun, globs: list[str] | None) -> None:
    rows = []
    for _, step, key, raw in entries(run, globs=globs):
        if is_rich_record(raw) and not (type(raw) is dict and raw["$"] == "table"):
            kinds = [item.get("$") for item in (raw if type(raw) is list else [raw]) if type(item) is dict]
            what = str(kinds[0]) if len(kinds) == 1 else f"{len(kinds)} of {kinds[0] if kinds else 'nothing'}"
            rows.append(["" if step is None else str(step), key, what, brief(plain(run, raw), 80)])
    _title("media")
    show(table(["step", "key", "kind", "what"], rows, ["step"]))


def _show_json(args: argparse.Namespace, summary: Summary, system: Summary | None, status: str) -> int:
    run = summary.run
    out = facts(summary, status)
    out["metrics"] = {_text(key): metric_json(metric) for key, metric in summary.metrics.items()}
    out["rich"] = {_text(key): {"count": n, "last_step": step} for key, (n, step) in summary.rich.items()}
    if args.config:
        out["config"] = {_text(key): raw for key, raw in summary.config.items()}
    if system is not None:
        out["system"] = {_text(key): metric_json(metric) for key, metric in system.metrics.items()}
    for name, wanted in (("tables", args.tables), ("media", args.media)):
        if wanted:
            out[name] = [
                {"step": step, "key": _text(key), "value": raw}
                for _, step, key, raw in entries(run, globs=args.keys)
                if is_rich_record(raw) and (type(raw) is dict and raw["$"] == "table") == (name == "tables")
            ]
    dump(out)
    return 0


def _text(key: str) -> str:
    return key.encode("utf-8", "backslashreplace").decode()


# -- compare -------------------------------------------------------------------------------------------------


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts under dotted keys; values stay as they are in the journal."""
    leaves: dict[str, Any] = {}
    for key, raw in config.items():
        if type(raw) is dict and raw and "$" not in raw:
            leaves.update(flat(raw, f"{prefix}{key}."))
        else:
            leaves[prefix + key] = raw
    return leaves


_ABSENT = object()


def compare_runs(args: argparse.Namespace) -> int:
    """`trackio compare PROJECT RUN RUN…`: minimum and maximum, for which one is best only you know."""
    if len(args.run) < 2:
        raise UsageError("compare needs two runs or more")
    runs = chosen(project_runs(store(args), args.project), args.run)
    names = labels(runs)
    summaries = [
        Summary(run, args.keys).read(progress(run.records(), f"reading {run.name!r}")) for run in runs
    ]
    for run in runs:
        warn_damage(run)
    configs = [flat(summary.config) for summary in summaries]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    differing = {}
    for key in keys:
        values = [config.get(key, _ABSENT) for config in configs]
        if len({b"" if raw is _ABSENT else orjson.dumps(raw) for raw in values}) > 1:
            differing[key] = values
    metrics = list(dict.fromkeys(key for summary in summaries for key in summary.metrics))
    if args.json:
        return _compare_json(summaries, runs, differing, metrics)
    decode = Decoder()
    _compare_heads(names, runs)
    print(f"\nconfig: {plural(len(differing), 'key')} of {len(keys)} not equal in all runs")
    if differing:
        rows = [
            [key, *("—" if raw is _ABSENT else brief(decode(raw)) for raw in values)]
            for key, values in differing.items()
        ]
        show(table(["key", *names], rows))
    rows = []
    for key in metrics:
        found = [summary.metrics.get(key) for summary in summaries]
        rows.append([key, "last", *("—" if metric is None else brief(metric.last, 24) for metric in found)])
        for what, value, step in (("min", "low", "low_step"), ("max", "high", "high_step")):
            cells = [_best(metric, value, step) for metric in found]
            if any(cell != "—" for cell in cells):
                rows.append(["", what, *cells])
    print("\nmetrics (value, @ the step it was first reached at)")
    show(table(["metric", "", *names], rows, names))
    return 0


def _compare_heads(names: list[str], runs: list[StoredRun]) -> None:
    rows = [[name, run.id, run.status, moment(run.created)] for name, run in zip(names, runs, strict=True)]
    show(table(["run", "id", "status", "started"], rows))


def _best(metric: Metric | None, value: str, step: str) -> str:
    if metric is None or getattr(metric, value) is None:
        return "—"
    where = getattr(metric, step)
    return number(getattr(metric, value)) + ("" if where is None else f" @ {where}")


def _compare_json(
    summaries: list[Summary], runs: list[StoredRun], differing: dict[str, Any], metrics: list[str]
) -> int:
    ids = [run.id for run in runs]
    dump(
        {
            "runs": [facts(summary, summary.run.status) for summary in summaries],
            "config": {
                _text(key): {run: raw for run, raw in zip(ids, values, strict=True) if raw is not _ABSENT}
                for key, values in differing.items()
            },
            "metrics": {
                _text(key): {
                    run: metric_json(summary.metrics[key])
                    for run, summary in zip(ids, summaries, strict=True)
                    if key in summary.metrics
                }
                for key in metrics
            },
        }
    )
    return 0
