"""`trl-conformance surface …`: scan releases, check a module against them all, tell releases apart."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from packaging.version import Version

from conformance.surface import coverage, diff, download, gaps, scan, store, words
from conformance.surface.model import Surface
from conformance.surface.names import GENERAL, MODULES, ROOTS


class WrongInput(ValueError):
    """What was asked for cannot be done; the message is one line."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own."""
    surface = commands.add_parser(
        "surface", help="what TRL, transformers and accelerate ask of trackers, from their sources"
    )
    acts = surface.add_subparsers(dest="act", required=True)

    one = acts.add_parser("scan", help="scan releases into fixtures/surface")
    one.add_argument("what", nargs="*", help="trl==1.16.0 (downloaded with pip), a wheel, or trl (what is installed)")
    one.add_argument("--all", action="store_true", help="every release that was scanned before, once more")
    one.add_argument("--wheels", type=Path, help="keep downloaded wheels here, and look for them here first")
    one.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file would change")
    one.add_argument("-o", "--output", type=Path, help="the folder to write into (default: the kit's fixtures/surface)")

    check = acts.add_parser("check", help="what a module, callback or tracker class does not serve, over all releases")
    check.add_argument("target", help="a module (trackio, pkg.mod:object), or a class (pkg.mod:Class, file.py:Class)")
    check.add_argument(
        "--as", dest="name", help="the module it stands for: wandb, trackio, mlflow, … (default: itself)"
    )
    check.add_argument("--library", action="append", choices=scan.LIBRARIES, help="only what this one asks; repeatable")
    check.add_argument("--version", action="append", help="only this minor of the library, such as 1.16; repeatable")
    check.add_argument(
        "--before", metavar="MODULE:FUNCTION", help="called before the module is imported: a shim's install"
    )
    check.add_argument("--no-live", action="store_true", help="open no run in it")
    check.add_argument("--all", action="store_true", help="also what cannot be told from here")
    check.add_argument("--json", action="store_true", help="as JSON")

    two = acts.add_parser("diff", help="what one release asks of trackers that another does not")
    two.add_argument("library", choices=scan.LIBRARIES)
    two.add_argument("old", help="a minor, such as 1.9, or a wheel")
    two.add_argument("new", help="a later one")
    two.add_argument("--module", action="append", default=[], help="only this one: trackio, wandb, …; repeatable")
    two.add_argument("--json", action="store_true", help="as JSON")

    line = acts.add_parser("timeline", help="a page per module: what is asked of it, since and until which releases")
    line.add_argument("module", nargs="*", help="default: all")
    line.add_argument("-o", "--output", type=Path, help="write <module>.md files into this folder instead of printing")

    tour = acts.add_parser("reach", help="train every trainer of the installed TRL, and note which sites are reached")
    tour.add_argument(
        "-o", "--output", type=Path, default=Path("results/reach"), help="folder (default: results/reach)"
    )

    tour.add_argument("--trainer", action="append", default=[], metavar="ID", help="only this one (sft); repeatable")

    cover = acts.add_parser("coverage", help="which sites of the scanned releases some tours reached, as Markdown")
    cover.add_argument("reached", type=Path, nargs="+", help="files that `surface reach` wrote")
    cover.add_argument("--library", action="append", choices=scan.LIBRARIES, help="default: all; repeatable")


def run(chosen: argparse.Namespace) -> int:
    """Run one of the commands; return the exit status. Raises WrongInput."""
    acts: dict[str, Callable[[argparse.Namespace], int]] = {
        "scan": _scan,
        "check": _check,
        "diff": _diff,
        "timeline": _timeline,
        "reach": _reach,
        "coverage": _coverage,
    }
    try:
        return acts[chosen.act](chosen)
    except (scan.NotScannable, store.NoSurface, gaps.CannotCheck, download.DownloadError) as error:
        raise WrongInput(" ".join(str(error).split())) from error


# ---- scan ------------------------------------------------------------------------------------------------------------


def _scan(chosen: argparse.Namespace) -> int:
    what = [*chosen.what]
    if chosen.all:
        what += [f"{library}=={version}" for library in scan.LIBRARIES for version in store.versions(library)]
    if not what:
        raise WrongInput("say what to scan: trl==1.16.0, a wheel, trl (what is installed), or --all")
    with download.wheels(what, chosen.wheels) as sources, ProcessPoolExecutor(2) as pool:
        scanned = pool.map(_one, sources)
        changed = [line for surface in scanned if (line := _write(surface, chosen))]
    store.versions.cache_clear()
    store.load.cache_clear()
    print(f"{len(what)} scanned, {len(changed)} {'would change' if chosen.check else 'written'}")
    return 1 if chosen.check and changed else 0


def _one(source: str) -> Surface:
    return scan.of_wheel(Path(source)) if source.endswith(".whl") else scan.of_installed(source)


def _write(surface: Surface, chosen: argparse.Namespace) -> str:
    """Write a release's file if it is not as it was; return a line if so. An older release of its minor goes."""
    place = chosen.output or store.folder()
    path = store.path(surface.library, surface.version, place)
    if path.exists() and path.read_text(encoding="utf-8") == surface.text():
        return ""
    line = f"{path}: {len(surface.uses)} uses"
    print(line)
    for unread in surface.unread:
        print(f"  not read: {unread}")
    if not chosen.check:
        place.mkdir(parents=True, exist_ok=True)
        path.write_text(surface.text(), encoding="utf-8")
        for older in place.glob(f"{surface.library}-{surface.minor}.*.json"):
            if older != path:
                older.unlink()
    return line


# ---- the others ------------------------------------------------------------------------------------------------------


def _surfaces(chosen: argparse.Namespace) -> list[Surface]:
    libraries = chosen.library or scan.LIBRARIES
    if chosen.version:
        if len(libraries) != 1:
            raise WrongInput("--version is of one library: say --library trl, transformers or accelerate with it")
        return [store.load(libraries[0], version) for version in chosen.version]
    return [surface for library in libraries for surface in store.every(library)]


def _check(chosen: argparse.Namespace) -> int:
    surfaces = _surfaces(chosen)
    if not surfaces:
        raise store.NoSurface(f"no release was scanned: there is nothing in {store.folder()}")
    place, colon, attribute = chosen.target.rpartition(":")
    if colon and not chosen.name and attribute[:1].isupper():
        checked = gaps.check_class(chosen.target, surfaces)
    else:
        place = chosen.target.partition(":")[0]
        name = chosen.name or ROOTS.get(place, "")
        if name not in (*MODULES, GENERAL):
            known = ", ".join(MODULES)
            raise WrongInput(f"nobody asks anything of {place}: say what it stands for, --as NAME of {known}")
        checked = gaps.check(chosen.target, name, surfaces, not chosen.no_live, chosen.before)
    among = {library: store.versions(library) for library in scan.LIBRARIES}
    if chosen.json:
        print(json.dumps(words.to_json(checked), indent=1))
    else:
        for line in words.lines(checked, among, chosen.all):
            print(line)
    return 1 if checked.gaps else 0


def _diff(chosen: argparse.Namespace) -> int:
    old, new = (_release(chosen.library, word) for word in (chosen.old, chosen.new))
    if chosen.json:
        print(json.dumps(diff.to_json(old, new, chosen.module), indent=1))
        return 0
    for line in diff.words(old, new, chosen.module):
        print(line)
    return 0


def _release(library: str, word: str) -> Surface:
    if not word.endswith(".whl"):
        return store.load(library, word)
    surface = scan.of_wheel(Path(word))
    if surface.library != library:
        raise WrongInput(f"{word} is a wheel of {surface.library}, not of {library}")
    return surface


def _timeline(chosen: argparse.Namespace) -> int:
    every = {library: store.every(library) for library in scan.LIBRARIES}
    for module in chosen.module or list(_asked_of(every)):
        if module not in _asked_of(every):
            raise WrongInput(f"no release asks anything of {module}; of {', '.join(_asked_of(every))}")
        page = diff.timeline(module, every)
        if chosen.output is None:
            print(page)
        else:
            chosen.output.mkdir(parents=True, exist_ok=True)
            (chosen.output / f"{module}.md").write_text(page, encoding="utf-8")
            print(chosen.output / f"{module}.md")
    return 0


def _asked_of(every: dict[str, list[Surface]]) -> dict[str, None]:
    """Return the modules and classes of which anything is asked, in the order of `names`."""

    def all_of() -> Iterator[str]:
        for surfaces in every.values():
            for surface in surfaces:
                yield from (use.module for use in surface.uses)
                yield from (hook.owner for hook in surface.hooks)

    there = set(all_of())
    return dict.fromkeys([*(m for m in MODULES if m in there), *sorted(there - set(MODULES))])


def _reach(chosen: argparse.Namespace) -> int:
    from conformance.sandbox import SandboxError
    from conformance.surface import reach
    from conformance.trainers import minor, release

    if not release("trl"):
        raise WrongInput("TRL is not installed: pip install 'trl-conformance[trl]', or the TRL release to tour")
    with tempfile.TemporaryDirectory() as folder:
        try:
            told = reach.tour(Path(folder), chosen.trainer)
        except SandboxError as error:
            raise WrongInput(str(error)) from error
    path = chosen.output / f"trl-{minor(release('trl'))}.json"
    reach.write(told, path)
    failed = [f"{name}: {error.splitlines()[0]}" for name, error in told["ended"].items() if error]
    for line in failed:
        print(line)
    print(f"{path}: {len(told['asked'])} sites in {len(told['ended'])} trainings, {len(failed)} of which did not end")
    return 0


def _coverage(chosen: argparse.Namespace) -> int:
    known = coverage.reasons()
    covered, ended = [], {}
    try:
        tours = [coverage.read(path) for path in chosen.reached]
    except (OSError, ValueError) as error:
        raise WrongInput(str(error)) from error
    for told in sorted(tours, key=lambda told: Version(told["surfaces"]["trl"].version)):
        for library in chosen.library or scan.LIBRARIES:
            covered.append(coverage.cover(told["surfaces"][library], told["asked"], known))
        ended[told["surfaces"]["trl"].version] = told["ended"]
    # Of some releases or libraries alone one cannot say that a reason fits none.
    whole = not chosen.library and set(store.versions("trl")) <= ended.keys()
    old = coverage.stale(covered, known) if whole else []
    print(coverage.page(covered, ended, old), end="")
    return 1 if old or any(one.unexplained or one.unseen for one in covered) else 0
