"""`trl-conformance`, also `python -m conformance`: everything that is not a test run. pytest runs the tests."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from conformance import registry


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="trl-conformance", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("trackers", help="list the registered trackers, and whether each is installed here")
    record = commands.add_parser("record", help="record the golden tapes of the installed TRL (fixtures/tapes)")
    record.add_argument("folder", type=Path, help="the folder to write trl-<minor>.json into")
    table = commands.add_parser("table", help="print what trackers lose, from results files, as Markdown")
    table.add_argument("results", type=Path, nargs="+", help="results/<trl>-<tracker>.json")
    table.add_argument("--evidence", action="store_true", help="with every gap and its differences")
    chosen = parser.parse_args(arguments)
    if chosen.command == "trackers":
        return trackers()
    if chosen.command == "record":
        return record_tapes(chosen.folder)
    return print_table(chosen.results, chosen.evidence)


def trackers() -> int:
    """Print a line per registered tracker: name, class, version or what is missing."""
    for name, target in sorted(registry.registered().items()):
        try:
            cls = registry.load(name)
        except registry.UnknownTracker as error:
            print(f"{name:<14} {target:<50} broken: {error}")
            continue
        version = registry.unusable(name) or cls.version()
        print(f"{name:<14} {target:<50} {version}")
    return 0


def print_table(paths: list[Path], evidence: bool) -> int:
    """Print the table of results files, and with `evidence` every gap; return 2 for a file that is none."""
    from conformance.report import markdown

    reports = []
    for path in paths:
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            reports.append({**report, "outcomes": dict(report["outcomes"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            print(f"{path} is no results file of this kit: {error}", file=sys.stderr)
            return 2
    print(markdown.table(reports))
    if evidence:
        print(markdown.evidence(reports))
    return 0


def record_tapes(folder: Path) -> int:
    """Train every stable trainer of the installed TRL without a tracker and write what it logged as golden tapes."""
    import tempfile

    from conformance.bench import Sandboxes, record
    from conformance.trainers import discover, minor, release

    with tempfile.TemporaryDirectory() as place:
        sandboxes = Sandboxes(Path(place))
        try:
            tapes = {t.id: record(t, sandboxes, Path(place)).to_json() for t in discover() if t.stable}
        finally:
            sandboxes.close()
    path = folder / f"trl-{minor(release('trl'))}.json"
    path.write_text(json.dumps(tapes, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{path}: {len(tapes)} tapes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
