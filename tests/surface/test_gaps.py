"""conformance.surface.gaps: what a module lacks over many releases, how bad it is, and what mends most."""

from __future__ import annotations

from pathlib import Path

import pytest
from surfaces import made

from conformance.surface import gaps, store, words
from conformance.surface.gaps import CannotCheck, Checked

ACME = '''
"""A module that stands for wandb."""
import socket
__version__ = "2.1"
run = None
class Run:
    name = "x"
    def log(self, metrics, step=None): ...
    def finish(self): ...
def init(project=None, **more):
    global run
    run = Run()
    return run
def log(metrics): ...
def finish(): ...
'''


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module."""
    (tmp_path / "acme_tracker.py").write_text(ACME)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "acme_tracker"


def check(module: str, *texts: str, live: bool = True) -> Checked:
    surfaces = [made(f"import wandb\n{text}", f"1.{i}.0") for i, text in enumerate(texts)]
    return gaps.check(module, "wandb", surfaces, live)


def test_a_module_that_serves_everything_has_no_gap(acme: str) -> None:
    checked = check(acme, "wandb.log({})\nwandb.init(project='x').log({}, step=1)\nwandb.run.name")
    assert (checked.gaps, checked.holds, checked.version, checked.live) == ([], 4, "2.1", "")


def test_without_a_live_run_what_depends_on_it_is_not_told(acme: str) -> None:
    checked = check(acme, "wandb.run.name\nwandb.log({})", live=False)
    assert (checked.gaps, list(checked.unknown)) == (
        [],
        ["acme_tracker.run is None here: what it is while a run is open is not known"],
    )


def test_one_missing_name_is_one_gap_with_the_releases_that_need_it(acme: str) -> None:
    checked = check(
        acme, "wandb.log({})", "wandb.log({}, step=1)", "def f():\n  wandb.log({}, step=2)\n  wandb.run.url"
    )
    assert [(gap.severity, gap.at, gap.releases) for gap in checked.gaps] == [
        ("crash", "log()", ["trl 1.1.0", "trl 1.2.0"]),
        ("crash", "run.url", ["trl 1.2.0"]),
    ]
    assert checked.gaps[0].why == "acme_tracker.log(): got an unexpected keyword argument 'step'"


@pytest.mark.parametrize(
    "text, severity",
    [
        ("wandb.Table()", "crash"),
        ("try:\n    wandb.Table()\nexcept Exception:\n    pass", "silent"),
        ("try:\n    wandb.termwarn('x')\nexcept AttributeError:\n    pass", "cosmetic"),
        ("def work():\n    wandb.Table()\nThread(target=work)", "silent"),
        ("try:\n    wandb.Table()\nexcept ImportError:\n    pass", "crash"),
        ("if hasattr(wandb, 'define_metric'): pass", "cosmetic"),
        ("def f():\n    if getattr(wandb, 'watch', None):\n        wandb.watch(1)", "cosmetic"),
        ("def is_wandb_available():\n    return hasattr(wandb, 'nothing')", "crash"),
    ],
)
def test_how_bad_it_is_depends_on_who_would_notice(acme: str, text: str, severity: str) -> None:
    assert {gap.severity for gap in check(acme, text).gaps} == {severity}


@pytest.mark.parametrize("since, gaps", [("2.1", ["crash"]), ("2.2", [])])
def test_what_a_caller_asks_of_newer_versions_only(acme: str, since: str, gaps: list[str]) -> None:
    text = f"def f():\n    if parse(wandb.__version__) < parse('{since}'):\n        return\n    wandb.freeze()"
    assert [gap.severity for gap in check(acme, text).gaps] == gaps


def test_what_mends_most_comes_first(acme: str) -> None:
    checked = check(acme, "wandb.a()", "wandb.b()", "wandb.b()\nwandb.c()", "wandb.log({})")
    assert [(gap.at, releases, clean) for gap, releases, clean in checked.fixes()] == [
        ("b", 2, 2),
        ("a", 1, 3),
        ("c", 1, 4),
    ]


def test_a_module_without_a_run_loses_what_is_logged_only_if_there_is_one(tmp_path: Path, acme: str) -> None:
    (tmp_path / "runless_tracker.py").write_text("run = None\ndef init(project=None): ...\ndef log(metrics): ...")
    checked = check(
        "runless_tracker",
        "def f():\n    if wandb.run is not None:\n        wandb.run.log({})",
        "wandb.run.url",
        "run = wandb.init(project='x')\nrun.log({})",
    )
    assert [(gap.severity, gap.why, gap.releases) for gap in checked.gaps] == [
        ("crash", "runless_tracker.init() is None, though a run is open", ["trl 1.2.0"]),
        ("crash", "runless_tracker.run is None, though a run is open", ["trl 1.1.0"]),
        ("silent", "runless_tracker.run is None, though a run is open", ["trl 1.0.0"]),
    ]


def test_a_module_that_cannot_be_imported_says_so_in_one_line(acme: str) -> None:
    with pytest.raises(CannotCheck, match="import no_such_module fails: ModuleNotFoundError"):
        check("no_such_module", "wandb.log({})")


def test_a_module_that_ends_the_process_says_so(tmp_path: Path, acme: str) -> None:
    (tmp_path / "bad_tracker.py").write_text("import os\nprint('bye', flush=True)\nos._exit(3)")
    with pytest.raises(CannotCheck, match=r"the process that imports it ended with 3: bye"):
        check("bad_tracker", "wandb.log({})")


def test_a_run_that_cannot_be_opened_is_told(tmp_path: Path, acme: str) -> None:
    (tmp_path / "offline_tracker.py").write_text(
        "import socket\nrun = None\ndef init(project=None): socket.create_connection(('example.org', 80))"
    )
    checked = check("offline_tracker", "wandb.run.url")
    assert "no network here: example.org" in checked.live
    assert list(checked.unknown) == ["offline_tracker.run is None here: what it is while a run is open is not known"]


def test_a_distribution_that_is_looked_up_by_another_name_is_a_gap(acme: str) -> None:
    text = """
        def is_acme_available():
            return find_spec("wandb") is not None and importlib.metadata.metadata("wandb")
        import wandb
        wandb.log({})
        """
    checked = gaps.check(acme, "wandb", [made(text)])
    assert checked.gaps == [], "another module in wandb's place is not looked up by wandb's name"
    (gap,) = gaps.check("json", "json", [made(text.replace("wandb", "json"))]).gaps or [None]  # type: ignore[list-item]
    assert gap is None, "json is no tracker: nobody asks anything of it"


def test_the_report_tells_the_releases_the_place_and_the_condition(acme: str) -> None:
    old, new = "wandb.log({})", "def f():\n    if 'wandb' in args.report_to:\n        wandb.Table(data=1)"
    checked = check(acme, old, new, new)
    among = {"trl": ("1.0.0", "1.1.0", "1.2.0"), "transformers": (), "accelerate": ()}
    assert list(words.lines(checked, among)) == [
        "acme_tracker 2.1 as wandb · 3 trl releases ask something of it · 1 gaps · 1 requirements hold · "
        "0 not to be told from here",
        "",
        "crashes training",
        "  acme_tracker has no Table",
        "      trl 1.1 - 1.2    trl/trainer/x.py:4 f (1.2.0)   when reported to: wandb",
    ]
    told = words.to_json(checked)
    assert told["gaps"][0]["asked"][0] == {
        "release": "trl 1.1.0",
        "use": "Table(data=)",
        "where": "trl/trainer/x.py:4",
        "guards": ["reported to: wandb"],
    }


@pytest.mark.parametrize(
    "some, told",
    [(["1.0.0"], "1.0"), (["1.0.0", "1.1.0", "1.3.0"], "1.0 - 1.1, 1.3"), (["1.3.0", "1.2.0"], "1.2 - 1.3")],
)
def test_releases_in_few_words(some: list[str], told: str) -> None:
    assert store.ranges(some, ("1.0.0", "1.1.0", "1.2.0", "1.3.0")) == told
