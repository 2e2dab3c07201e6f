"""The command `trackio`: look at runs, plot, compare, export, check them, take runs over from elsewhere, push
them to a dataset and pull them back.

    trackio list
    trackio show PROJECT [RUN] --follow
    trackio plot PROJECT RUN RUN --keys 'train/*' -o loss.png

Reading commands never write to the store. Results go to stdout, everything else to stderr. Exit codes: 0;
1 if `verify` found something; 2 if the user can put it right, told in one line; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ..journal import JournalDamaged
from .common import UsageError, tell


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "trackio", description="Look at the runs in a folder, and take runs over from elsewhere."
    )
    place = argparse.ArgumentParser(add_help=False)
    # SUPPRESS: the option may stand before or after the command, and neither overrides the other.
    for each, default in ((parser, None), (place, argparse.SUPPRESS)):
        each.add_argument("--root", metavar="DIR", default=default, help="where runs are kept ($TRACKIO_DIR)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    lenient = argparse.ArgumentParser(add_help=False)
    lenient.add_argument("--lenient", action="store_true", help="read past damaged records, and say so")
    keys = argparse.ArgumentParser(add_help=False)
    keys.add_argument("--keys", metavar="GLOB", action="append", help="only keys like this (again for more)")

    each = commands.add_parser("list", parents=[place, lenient], help="projects and runs")
    each.add_argument("project", nargs="?", metavar="PROJECT")
    each.add_argument("--json", action="store_true")

    each = commands.add_parser("show", parents=[place, lenient, keys], help="one run: a line per metric")
    each.add_argument("project", metavar="PROJECT")
    each.add_argument("run", nargs="?", metavar="RUN", help="name or id; by default the latest run")
    for name, text in (
        ("config", "the configuration too"),
        ("tables", "the last table of each key too"),
        ("media", "a line for each image, trace, histogram too"),
        ("system", "metrics of the machine too"),
        ("json", "as JSON; values as in the journal"),
        ("follow", "go on until the run ends; no terminal: a line for each record"),
    ):
        each.add_argument(f"--{name}", action="store_true", help=text)
    each.add_argument("--rows", type=int, default=20, help="rows of a table (20)")
    each.add_argument("--interval", type=float, default=0.5, metavar="SECONDS", help="between looks (0.5)")

    each = commands.add_parser("plot", parents=[place, lenient, keys], help="a picture of metrics")
    each.add_argument("project", metavar="PROJECT")
    each.add_argument("run", nargs="*", metavar="RUN", help="overlaid; by default the latest run")
    each.add_argument("--all", action="store_true", help="all runs of the project")
    each.add_argument("-o", "--output", required=True, metavar="FILE", help="png, svg, pdf or html")
    each.add_argument("--x", choices=("step", "time"), default="step")
    each.add_argument("--log", action="store_true", help="logarithmic values")
    each.add_argument(
        "--smooth",
        type=float,
        default=0.0,
        metavar="0..1",
        help="add a running mean; the points stay visible",
    )
    each.add_argument("--force", action="store_true", help="replace an existing file")

    each = commands.add_parser("compare", parents=[place, lenient, keys], help="runs side by side")
    each.add_argument("project", metavar="PROJECT")
    each.add_argument("run", nargs="+", metavar="RUN")
    each.add_argument("--json", action="store_true")

    each = commands.add_parser("export", parents=[place, lenient, keys], help="values to CSV, Parquet, JSON")
    each.add_argument("project", metavar="PROJECT")
    each.add_argument("run", nargs="?", metavar="RUN", help="by default all runs")
    each.add_argument("--format", choices=("csv", "parquet", "json"), help="by default the file's suffix")
    each.add_argument("-o", "--output", default="-", metavar="FILE", help="by default stdout")
    each.add_argument("--wide", action="store_true", help="a row for each step, a column for each key")
    each.add_argument("--system", action="store_true", help="metrics of the machine instead")
    each.add_argument("--no-media", action="store_true", help="leave out tables, images, traces, histograms")
    each.add_argument("--force", action="store_true", help="replace an existing file")

    each = commands.add_parser("import", help="take runs over from another tracker")
    sources = each.add_subparsers(dest="source", required=True, metavar="SOURCE")
    each = sources.add_parser("tensorboard", parents=[place], help="event files below a folder")
    each.add_argument("folder", metavar="LOGDIR")
    each.add_argument("--project", required=True, help="the project they come to")
    each = sources.add_parser("trackio", parents=[place], help="the store of Hugging Face's Trackio")
    each.add_argument("folder", nargs="?", metavar="DIR", help="its folder or one .db file")
    each.add_argument("--project", help="only this project; for a .db file, the project it comes to")

    each = commands.add_parser("push", parents=[place], help="runs to a dataset on the Hugging Face Hub")
    each.add_argument("project", nargs="?", metavar="PROJECT")
    each.add_argument(
        "--repo",
        metavar="USER/NAME",
        help="the dataset; by default $TRACKIO_DATASET_REPO or as each run says",
    )
    each.add_argument("--public", action="store_true", help="for all to see, if it is made; else private")
    each.add_argument("--large", action="store_true", help="contents of artifacts above 8 MiB too")

    each = commands.add_parser("pull", parents=[place], help="runs of a dataset into the folder")
    each.add_argument("repo", metavar="USER/NAME")
    each.add_argument("project", nargs="?", metavar="PROJECT")

    each = commands.add_parser("verify", parents=[place], help="check every record and file")
    each.add_argument("project", nargs="?", metavar="PROJECT")
    each.add_argument("run", nargs="?", metavar="RUN")
    each.add_argument("--json", action="store_true")
    return parser


def _run(args: argparse.Namespace) -> int:
    # Each imports what it needs, and none what another does.
    if args.command in ("list", "show", "compare"):
        from . import show

        return {"list": show.list_runs, "show": show.show_run, "compare": show.compare_runs}[args.command](
            args
        )
    if args.command == "plot":
        from .plot import plot_runs

        return plot_runs(args)
    if args.command == "export":
        from .export import export_runs

        return export_runs(args)
    if args.command in ("push", "pull"):
        from . import hub

        return {"push": hub.push_runs, "pull": hub.pull_runs}[args.command](args)
    if args.command == "import":
        from .imports import import_runs

        return import_runs(args)
    from .check import verify_runs

    return verify_runs(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Raises SystemExit for `--help` and for wrong arguments."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A name may hold any character, a terminal need not.
            stream.reconfigure(errors="backslashreplace")
    args = _parser().parse_args(argv)
    try:
        code = _run(args)
        sys.stdout.flush()
        return code
    except UsageError as error:
        tell(f"error: {error}")
    except JournalDamaged as error:
        tell(f"error: {error} (--lenient reads past it; `trackio verify` tells all)")
    except BrokenPipeError:
        # Whoever read has left. Python flushes stdout once more at its end, and must not complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        tell(f"error: {error}")
    except Exception as error:
        if os.environ.get("TRACKIO_STRICT", "") not in ("", "0"):
            raise
        tell(f"error: {type(error).__name__}: {error} (TRACKIO_STRICT=1 shows where)")
    return 2
