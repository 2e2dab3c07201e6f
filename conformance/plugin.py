"""The pytest plugin: options, which checks there are, how each ended, the header, and the exit status.

pytest loads it wherever the kit is installed (entry point `pytest11`); it stays out of the way of every session that
does not collect the courts (`conformance/test_*.py`). Results are written by `conformance.results`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance import gapfiles, registry, results
from conformance.clauses import all_clauses
from conformance.recipes import every
from conformance.scenarios import TRAINER
from conformance.trainers import Trainer, release
from conformance.verdict import LETTERS, RED, Verdict

if TYPE_CHECKING:
    from conformance.hub import Hub

COURTS = "conformance.test_"
#: Fixtures whose evidence is a scenario, each of the trainer `TRAINER`.
PLAYED = {"endured", "pushed"}
#: Seconds that a check's fixtures took.
SETUP: pytest.StashKey[float] = pytest.StashKey()


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The Hugging Face Hub in memory: one user with a token, no repositories, nothing wrong (docs/hub.md)."""
    from conformance.hub import memory_hub  # imports requests, which most sessions do not need

    with memory_hub(home=tmp_path_factory.mktemp("hub-home")) as hub:
        yield hub


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the conformance suite."""
    group = parser.getgroup("trl-conformance")
    add = group.addoption
    add("--tracker", action="append", default=[], metavar="NAME", help="package.module:Class, file.py:Class, or a name")
    add("--trainer", action="append", default=[], metavar="NAME", help="only this trainer (grpo, sft, …); repeatable")
    add("--level", action="append", default=[], type=int, metavar="N", help="only this level (0, 1, 2, 3); repeatable")
    add("--clause", action="append", default=[], metavar="ID", help="only this clause (REC-03); repeatable")
    add("--experimental", action="store_true", help="train the experimental trainers as well; they are not scored")
    add("--variants", action="store_true", help="train each in its other ways as well: chat, vision, PEFT, …")
    add("--shard", default="1/1", metavar="K/N", help="only this part of the checks; trl-conformance merge joins parts")
    add("--results", default="results", metavar="DIR", help="where results and gaps are written (default: results)")
    add(
        "--replay", default=None, metavar="FILE", help="replay the tape of one gap (results/<clause>-<hash>.json) alone"
    )
    # `--strict` is pytest's own option (strict markers, strict configuration); here it also makes unreachable and
    # stale red.
    add("--examples", default=6, type=int, metavar="N", help="generated payloads per clause, beside the fixed ones")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, check the options, and start the session's record."""
    config.addinivalue_line("markers", "clause(id): the clause of the law that a court's test tries")
    config.addinivalue_line("markers", "scenario(name): what is done in a trial of level 3")
    config.stash[results.SESSION] = results.Session(bool(config.getoption("strict", False)))
    laws = all_clauses()
    for id in config.getoption("clause"):
        if id not in laws:
            raise pytest.UsageError(f"--clause {id}: there is no such clause. Known: {', '.join(laws)}")
    for level in config.getoption("level"):
        if level not in {law.level for law in laws.values()}:
            raise pytest.UsageError(f"--level {level}: there are levels 0, 1, 2 and 3")
    called: dict[str, str] = {}
    for word in config.getoption("tracker"):
        try:
            line = registry.unusable(word)
        except registry.UnknownTracker as error:
            raise pytest.UsageError(str(error)) from error
        name = registry.load(word).name
        if not line and called.setdefault(name, word) != word:
            line = f"{called[name]!r} and {word!r} are both called {name!r}: give one class a `name` of its own"
        if line:
            raise pytest.UsageError(line)
    _shard(config)
    known = {trainer.id for trainer in every()} if release("trl") else set()
    for name in config.getoption("trainer"):
        if _word(name) not in known:
            near = difflib.get_close_matches(_word(name), known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise pytest.UsageError(f"--trainer {name}: TRL {release('trl')} exports no such trainer.{guess}")
    if config.getoption("replay"):
        try:
            clause, tape = gapfiles.read(Path(config.getoption("replay")))
        except ValueError as error:
            raise pytest.UsageError(f"--replay: {error}") from error
        config.stash[gapfiles.REPLAY] = tape
        config.stash[gapfiles.CLAUSE] = clause


def _word(trainer: str) -> str:
    """Return the id of a trainer that was named by id or by class: `grpo` for `GRPOTrainer`."""
    return trainer.lower().removesuffix("trainer")


def _shard(config: pytest.Config) -> tuple[int, int]:
    """Return which part of how many is to run. Raises UsageError."""
    word = config.getoption("shard")
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", word)
    if not found or int(found[1]) > int(found[2]):
        raise pytest.UsageError(f"--shard {word}: say which part of how many, such as 1/2")
    return int(found[1]), int(found[2])


def subjects(config: pytest.Config) -> list[Trainer]:
    """Return the trainers to train: the stable ones; experimental ones and variants on demand or by name."""
    named = {_word(name) for name in config.getoption("trainer")}
    asked = {"experimental": config.getoption("experimental"), "variants": config.getoption("variants"), "": True}
    return [t for t in every() if asked[t.beside] or t.id in named]


def trackers(config: pytest.Config) -> list[str]:
    """Return the trackers to test; without `--tracker`, the reference. Raises UsageError if that is not installed."""
    named: list[str] = config.getoption("tracker")
    if not named and (line := registry.unusable("reference")):
        raise pytest.UsageError(f"{line}. Or another tracker: --tracker package.module:Class, file.py:Class or a name")
    return named or ["reference"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise the courts: tracker × clause × subject."""
    marker = metafunc.definition.get_closest_marker("clause")
    if marker is None or not metafunc.module.__name__.startswith(COURTS):
        return
    config = metafunc.config
    if not release("trl"):
        raise pytest.UsageError("TRL is not installed: pip install 'trl-conformance[trl]', or the TRL release to test")
    metafunc.parametrize("bench", trackers(config), indirect=True, scope="session")
    if "trained" in metafunc.fixturenames:
        chosen = subjects(config)
        metafunc.parametrize("trained", chosen, indirect=True, ids=[f"{marker.args[0]}-{t.id}" for t in chosen])
    elif played := [kind for kind in PLAYED if kind in metafunc.fixturenames]:
        scenario = metafunc.definition.get_closest_marker("scenario").args[0]  # type: ignore[union-attr]
        metafunc.parametrize(played[0], [scenario], indirect=True, ids=[f"{marker.args[0]}-{scenario}"])
    elif "replayed" in metafunc.fixturenames:
        from conformance.bench import tapes

        metafunc.parametrize("replayed", list(tapes()), indirect=True, ids=[f"{marker.args[0]}-{t}" for t in tapes()])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what the options ask for, and count what there was: a check that vanishes must be seen."""
    courts = [item for item in items if _clause(item)]
    if not courts:
        return
    again = [item for item in courts if item.name.startswith("test_the_gap_again")]
    if config.stash.get(gapfiles.REPLAY, None):
        for item in again:
            item.own_markers[:] = [pytest.mark.clause(config.stash[gapfiles.CLAUSE]).mark]
        keep = again
    else:
        courts = [item for item in courts if item not in again]
        session = config.stash[results.SESSION]
        kinds = (getattr(_subject(item), "beside", "") or all_clauses()[_clause(item)].level for item in courts)
        session.collected = results.count(kinds, len(trackers(config)))
        part, parts = _shard(config)
        groups = {name: i for i, name in enumerate(dict.fromkeys(_group(item) for item in courts))}
        courts = [item for item in courts if groups[_group(item)] % parts == part - 1]
        keep = [item for item in courts if _wanted(config, item)]
    dropped = [item for item in items if _clause(item) and item not in keep]
    if dropped:
        items[:] = [item for item in items if item not in dropped]
        config.hook.pytest_deselected(items=[item for item in dropped if item not in again])


def _clause(item: pytest.Item) -> str:
    marker = item.get_closest_marker("clause")
    module = getattr(getattr(item, "module", None), "__name__", "")
    return str(marker.args[0]) if marker and module.startswith(COURTS) else ""


def _subject(item: pytest.Item) -> Any:
    """Return the trainer, or the name of the tape, that a check looks at; None if at neither."""
    parameters = getattr(item, "callspec").params  # noqa: B009  # only Function items have one
    return TRAINER if parameters.keys() & PLAYED else parameters.get("trained", parameters.get("replayed"))


def _group(item: pytest.Item) -> str:
    """Return what a check shares its runs with: all such checks belong to the same shard."""
    subject = _subject(item)
    return getattr(item, "originalname") if subject is None else str(getattr(subject, "id", subject))  # noqa: B009


def _wanted(config: pytest.Config, item: pytest.Item) -> bool:
    law = all_clauses()[_clause(item)]
    chosen = config.getoption("trainer")
    levels, ids = config.getoption("level"), config.getoption("clause")
    if chosen:
        subject = _subject(item)
        name = getattr(subject, "id", subject)
        if name is not None and name not in {_word(c) for c in chosen}:
            return False
    return (not levels or law.level in levels) and (not ids or law.id in ids)


# ---- outcomes --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a court's verdict into an outcome of this suite; whatever else it raised is `untestable`."""
    outcome: Any = yield
    report = outcome.get_result()
    clause = _clause(item)
    if not clause or call.when == "teardown":
        return
    if call.when == "setup" and call.excinfo is None:
        item.stash[SETUP] = call.duration  # the runs that the check looks at are made there
        return
    error = call.excinfo.value if call.excinfo else None
    entry = results.entry(item, clause, error, call.duration + item.stash.get(SETUP, 0.0))
    report.conformance = entry
    red = entry["scored"] and entry["outcome"] in RED
    # A verdict that a fixture raised must not let pytest go on to call the test: "passed" would.
    report.outcome = "failed" if red else ("passed" if call.when == "call" else "skipped")
    if isinstance(error, Verdict) or not (red or error is None):
        place = (str(item.path), 0, entry["reason"])
        report.longrepr = "\n".join(results.lines(entry)) if red else (place if call.when == "setup" else None)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Show a check's own outcome: its letter, its word."""
    entry = getattr(report, "conformance", None)
    if entry is None:
        return None
    outcome = entry["outcome"]
    category = {"holds": "passed", **dict.fromkeys(RED, "failed" if entry["scored"] else "unscored")}.get(
        outcome, outcome
    )
    return category, LETTERS[outcome], outcome.upper()


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the check's entry (in the process that reports: xdist's controller, or the only one)."""
    entry = getattr(report, "conformance", None)
    if entry is not None and _config is not None:
        _config.stash[results.SESSION].entries.append(entry)


_config: pytest.Config | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember the session's config: reports carry none."""
    global _config
    _config = session.config


class _Workers:
    """What xdist's workers tell the controller at their end: how many checks they collected."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        told = getattr(node, "workeroutput", {}).get("conformance")
        if told and _config is not None:
            _config.stash[results.SESSION].collected = told


def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
    """Listen to xdist, where it is."""
    if manager.hasplugin("xdist") and not manager.hasplugin("trl_conformance_workers"):
        manager.register(_Workers(), "trl_conformance_workers")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the results, and let the exit status be red if a check did not run or must not be green."""
    record = session.config.stash[results.SESSION]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["conformance"] = record.collected
        return
    if not record.entries:
        return
    part, parts = _shard(session.config)
    shard = f".{part}of{parts}" if parts > 1 else ""
    record.finish(Path(session.config.getoption("results")), bool(session.config.getoption("replay")), shard)
    if record.problems and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print one header per tracker, what is wrong with the run itself, and where the results are."""
    record = config.stash[results.SESSION]
    if record.others:
        terminalreporter.section("experimental trainers, not scored")
        for line in record.others:
            terminalreporter.write_line(line)
    if record.headers:
        terminalreporter.section("trl-conformance")
        for line in [*record.headers, *record.problems]:
            terminalreporter.write_line(line, red=line in record.problems)
