"""`trl-conformance`, also `python -m conformance`: everything that is not a test run. pytest runs the tests."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 2 for wrong input, which is told in one line."""
    parser = argparse.ArgumentParser(prog="trl-conformance", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("trackers", help="list the registered trackers, and whether each is installed here")

    record = commands.add_parser("record", help="record the golden tapes of the installed TRL (fixtures/tapes)")
    record.add_argument("folder", type=Path, help="the folder to write trl-<minor>.json into")
    record.add_argument("--schema", action="store_true", help="schemas of all trainers instead (fixtures/schemas)")

    diff = commands.add_parser("diff", help="say what changed for trackers from one TRL minor to another")
    diff.add_argument("old", help="a TRL minor, such as 1.12")
    diff.add_argument("new", help="a later one, such as 1.16")
    diff.add_argument("--folder", type=Path, help="where the schemas are (default: the kit's fixtures/schemas)")
    diff.add_argument("--json", action="store_true", help="as JSON")

    table = commands.add_parser("table", help="print what trackers lose, from results files, as Markdown")
    table.add_argument("results", type=Path, nargs="+", help="results/<trl>-<tracker>.json")
    table.add_argument("--evidence", action="store_true", help="with every gap and its differences")
    table.add_argument("--matrix", action="store_true", help="TRL releases × trainers instead")

    merge = commands.add_parser("merge", help="join the results files of shards and releases")
    merge.add_argument("results", type=Path, nargs="+", help="results files, or what merge wrote")
    merge.add_argument("-o", "--output", type=Path, required=True, help="a folder, or one file ending in .json")

    freeze = commands.add_parser("freeze", help="renew how many checks there are (clauses/frozen.toml), from results")
    freeze.add_argument("results", type=Path, nargs="+", help="results files of whole runs, or what merge wrote")

    matrix = commands.add_parser("matrix", help="list what a CI matrix runs: a tox environment per TRL release")
    form = matrix.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as GitHub Actions' fromJSON reads it")
    form.add_argument("--tox", action="store_true", help="as tox -e reads it: environments, separated by commas")
    matrix.add_argument("--shards", type=int, default=1, metavar="N", help="parts of each release (default: 1)")
    matrix.add_argument("--releases", nargs="+", metavar="MINOR", help="only these TRL minors")
    matrix.add_argument("--tracker", action="append", metavar="NAME", help="wandb, … (default: the reference)")

    era = commands.add_parser("era", help="resolve the pinned versions of TRL releases anew, or add a release")
    era.add_argument("versions", nargs="*", metavar="VERSION", help="TRL releases, new or known (default: all known)")
    era.add_argument("--check", action="store_true", help="change nothing; exit status 1 if something would change")

    hub = commands.add_parser("hub", help="the Hugging Face Hub in memory, for other processes (docs/hub.md)")
    hub.add_argument("action", choices=["serve"], help="on the loopback interface, until interrupted; prints its URL")
    hub.add_argument("--port", type=int, default=0, metavar="N", help="0 is any that is free (default: 0)")
    hub.add_argument("--user", action="append", metavar="NAME:TOKEN", help="or NAME:TOKEN:read; repeatable")
    hub.add_argument("--folder", type=Path, help="keep the state here for the next start (default: in memory)")
    hub.add_argument("--part-size", type=int, metavar="BYTES", help="larger files go up in parts (default: 16 MiB)")
    hub.add_argument("--chaos", metavar="SEED:RATE", help="let this share of requests fail at random, such as 7:0.1")

    from conformance.surface import command

    command.add(commands)

    chosen = parser.parse_args(arguments)
    try:
        return int(COMMANDS[chosen.command](chosen))
    except UsageError as error:
        print(f"trl-conformance {chosen.command}: {error}", file=sys.stderr)
        return 2


class UsageError(ValueError):
    """Wrong input; the message is one line."""


def trackers(chosen: argparse.Namespace) -> int:
    """Print a line per registered tracker: name, class, version or what is missing."""
    from conformance import registry

    for name, target in sorted(registry.registered().items()):
        try:
            cls = registry.load(name)
        except registry.UnknownTracker as error:
            print(f"{name:<14} {target:<50} broken: {error}")
            continue
        version = registry.unusable(name) or cls.version()
        print(f"{name:<14} {target:<50} {version}")
    return 0


def _reports(paths: list[Path]) -> list[tuple[str, dict[str, Any]]]:
    """Return (file, report) of every report in some files. Raises UsageError for a file that is none."""
    found = []
    for path in paths:
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            for report in told if isinstance(told, list) else [told]:
                found.append((str(path), {**report, "outcomes": dict(report["outcomes"])}))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{path} is no results file of this kit: {error}") from error
    return found


def table(chosen: argparse.Namespace) -> int:
    """Print the table of results files: what each tracker loses, or which trainers of which releases were trained."""
    from conformance.report import markdown, matrix

    reports = [report for _, report in _reports(chosen.results)]
    if chosen.matrix:
        print(matrix.page(reports), end="")
        return 0
    print(markdown.table(reports))
    if chosen.evidence:
        print(markdown.evidence(reports))
    return 0


def merge(chosen: argparse.Namespace) -> int:
    """Join results files; print a line per report written."""
    from conformance.matrix import merge
    from conformance.report import summary

    try:
        merged = merge.merge(_reports(chosen.results))
    except merge.Mismatch as error:
        raise UsageError(str(error)) from error
    for path, text in merge.files(merged, chosen.output).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for report in merged:
        print(summary.header(report))
    return 0


def freeze(chosen: argparse.Namespace) -> int:
    """Write how many checks there were in some runs into the kit's source, beside those of other releases."""
    from conformance import clauses
    from conformance.matrix.eras import number
    from conformance.trainers import minor

    counts = {minor: dict(kinds) for minor, kinds in clauses.frozen().items()}
    for file, report in _reports(chosen.results):
        if "trl" not in report["versions"]:
            raise UsageError(f"{file}: no training process was started, so the report names no TRL release")
        kinds = counts.setdefault(minor(report["versions"]["trl"]), {})
        kinds |= report["checks"]["by_level"]
        if report["unscored"]["there"]:
            kinds["experimental"] = report["unscored"]["there"]
    ordered = {minor: counts[minor] for minor in sorted(counts, key=number)}
    clauses.FROZEN.write_text(clauses.frozen_text(ordered), encoding="utf-8")
    print(f"{clauses.FROZEN}: {len(ordered)} releases")
    return 0


def matrix(chosen: argparse.Namespace) -> int:
    """Print what a CI matrix runs."""
    from conformance.matrix import plan

    try:
        cells = plan.plan(chosen.shards, chosen.releases, chosen.tracker or ["reference"])
    except ValueError as error:
        raise UsageError(str(error)) from error
    if chosen.json:
        print(json.dumps(cells))
    elif chosen.tox:
        print(",".join(dict.fromkeys(cell["environment"] for cell in cells)))
    else:
        for cell in cells:
            print(f"tox run -e {cell['environment']:<20} -- --experimental --variants --shard {cell['shard']}")
    return 0


def era(chosen: argparse.Namespace) -> int:
    """Resolve eras and write them down."""
    from conformance.matrix import eras, renew

    try:
        return renew.command(chosen.versions, chosen.check)
    except eras.ResolveError as error:
        raise UsageError(str(error)) from error


def diff(chosen: argparse.Namespace) -> int:
    """Print what changed for trackers between two TRL releases."""
    from conformance.matrix import diff, schema

    try:
        old, new = (schema.golden(minor, chosen.folder) for minor in (chosen.old, chosen.new))
    except schema.NoSchema as error:
        raise UsageError(str(error)) from error
    print(json.dumps(diff.to_json(old, new), indent=1) if chosen.json else diff.words(old, new))
    return 0


def record(chosen: argparse.Namespace) -> int:
    """Train the trainers of the installed TRL and write golden tapes, or schemas."""
    from conformance.matrix import record

    try:
        path, told = (record.schemas if chosen.schema else record.tapes)(chosen.folder)
    except (RuntimeError, FileNotFoundError) as error:  # a trainer that must train does not; there is no TRL
        raise UsageError(" ".join(str(error).split())) from error
    print(f"{path}: {told}")
    return 0


def hub(chosen: argparse.Namespace) -> int:
    """Serve the Hub in memory until interrupted."""
    from conformance.hub import serve

    try:
        return serve.run(chosen)
    except ValueError as error:
        raise UsageError(str(error)) from error


def surface(chosen: argparse.Namespace) -> int:
    """Scan releases, check a module against them, tell them apart."""
    from conformance.surface import command

    try:
        return command.run(chosen)
    except command.WrongInput as error:
        raise UsageError(str(error)) from error


COMMANDS = {f.__name__: f for f in (trackers, record, diff, table, merge, freeze, matrix, era, hub, surface)}

if __name__ == "__main__":
    sys.exit(main())
