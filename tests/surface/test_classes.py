"""conformance.surface.classes: callbacks and trackers, held against the hooks of each release."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from surfaces import made

from conformance.surface import gaps
from conformance.surface.gaps import CannotCheck, Checked
from conformance.surface.model import Surface

CALLBACKS = """
class TrainerCallback:
    def on_init_end(self, args, state, control, **kwargs): ...
    def on_log(self, args, state, control, **kwargs): ...
    {more}
class CallbackHandler(TrainerCallback):
    def on_init_end(self, args, state, control):
        return self.call_event("on_init_end", args, state, control)
    def on_log(self, args, state, control, logs):
        return self.call_event("on_log", args, state, control, logs=logs)
    {called}
    def call_event(self, event, args, state, control, **kwargs):
        for callback in self.callbacks:
            getattr(callback, event)(args, state, control, model=self.model, **kwargs)
"""
TRACKERS = """
class GeneralTracker:
    main_process_only = True
    def __init__(self, _blank=False):
        err = ""
        if not hasattr(self, "name"): err += "name"
        if not hasattr(self, "requires_logging_directory"): err += "x"
        if "tracker" not in dir(self): err += "tracker"
    def store_init_configuration(self, values): ...
    def log(self, values, step=None, **kwargs): ...
    def finish(self): ...
"""
ACCELERATOR = """
class Accelerator:
    def log(self, values, step=None, log_kwargs={}):
        for tracker in self.trackers:
            tracker.log(values, step=step, **log_kwargs.get(tracker.name, {}))
    def end_training(self):
        for tracker in self.trackers:
            tracker.finish()
"""


def transformers(version: str, more: str = "", called: str = "") -> Surface:
    text = CALLBACKS.format(more=more, called=called)
    return made(text, version, "transformers", "transformers/trainer_callback.py")


def releases() -> list[Surface]:
    push = "def on_push_begin(self, args, state, control, **kwargs): ..."
    called = (
        "def on_push_begin(self, args, state, control):\n"
        '        return self.call_event("on_push_begin", args, state, control)'
    )
    from conformance.surface import scan

    files = [("accelerate/tracking.py", TRACKERS), ("accelerate/accelerator.py", ACCELERATOR)]
    return [transformers("4.1.0"), transformers("5.0.0", push, called), scan.scan("accelerate", "1.0.0", files)]


def check(folder: Path, text: str) -> Checked:
    path = folder / "mine.py"
    path.write_text(textwrap.dedent(text))
    return gaps.check_class(f"{path}:Mine", releases())


def told(checked: Checked) -> list[tuple[str, str, list[str]]]:
    return [(gap.severity, gap.why, gap.releases) for gap in checked.gaps]


HEAD = "from transformers import TrainerCallback\nfrom accelerate.tracking import GeneralTracker, on_main_process\n"


def callback(body: str) -> str:
    return f"{HEAD}class Mine(TrainerCallback):\n{textwrap.indent(textwrap.dedent(body), '    ')}"


def tracker(body: str) -> str:
    return f"{HEAD}class Mine(GeneralTracker):\n{textwrap.indent(textwrap.dedent(body), '    ')}"


GOOD = """
name = "mine"
requires_logging_directory = False
@property
def tracker(self): return None
def store_init_configuration(self, values): pass
def log(self, values, step=None, **kwargs): pass
def finish(self): pass
"""


@pytest.mark.parametrize(
    "text",
    [
        callback("def on_log(self, args, state, control, logs=None, **kwargs): pass"),
        callback("def on_log(me, a, s, c, *, model, logs): pass"),
        callback("def helper(self): pass"),
        f"{HEAD}class Other:\n    def on_flush(self): ...\n"
        "class Mine(Other, TrainerCallback):\n    def on_flush(self): ...\n",
        tracker(GOOD.replace("def finish", "@on_main_process\ndef finish")),
        tracker(GOOD),
    ],
)
def test_a_class_that_fits_has_no_gap(tmp_path: Path, text: str) -> None:
    assert told(check(tmp_path, text)) == []


def test_a_hook_that_no_release_knows_is_never_called(tmp_path: Path) -> None:
    assert told(check(tmp_path, callback("def on_logs(self, *a, **k): pass"))) == [
        ("silent", "Mine.on_logs is never called (did you mean on_log?)", ["transformers 4.1.0", "transformers 5.0.0"])
    ]


def test_a_hook_that_only_newer_releases_know(tmp_path: Path) -> None:
    assert told(check(tmp_path, callback("def on_push_begin(self, *a, **k): pass"))) == [
        ("silent", "Mine.on_push_begin is never called", ["transformers 4.1.0"])
    ]


def test_a_hook_that_does_not_take_what_it_is_given(tmp_path: Path) -> None:
    ((severity, why, at),) = told(check(tmp_path, callback("def on_log(self, args, state, control, logs=None): pass")))
    assert (severity, at) == ("crash", ["transformers 4.1.0", "transformers 5.0.0"])
    assert why == "Mine.on_log(_, _, _, logs=, model=): got an unexpected keyword argument 'model'"


@pytest.mark.parametrize(
    "line, why",
    [
        ('name = "mine"', "Mine has no name, which GeneralTracker demands"),
        ("requires_logging_directory = False", "Mine has no requires_logging_directory, which GeneralTracker demands"),
        ("step=None, **kwargs", "Mine.log(_, step=, **): got an unexpected keyword argument 'step'"),
    ],
)
def test_a_tracker_that_lacks_what_accelerate_demands(tmp_path: Path, line: str, why: str) -> None:
    assert told(check(tmp_path, tracker(GOOD.replace(line, "")))) == [("crash", why, ["accelerate 1.0.0"])]


def test_a_tracker_is_held_against_the_calls_of_each_release(tmp_path: Path) -> None:
    """As accelerate 1.13 and 1.14 did to Trackio's tracker: only the newer one gives a step."""
    from conformance.surface import scan

    (tmp_path / "mine.py").write_text(tracker(GOOD.replace("step=None, **kwargs", "")))
    both = [
        scan.scan("accelerate", version, [("accelerate/tracking.py", TRACKERS), ("accelerate/accelerator.py", text)])
        for version, text in (
            ("1.0.0", ACCELERATOR.replace("step=step, **log_kwargs.get(tracker.name, {})", "")),
            ("1.1.0", ACCELERATOR),
        )
    ]
    assert [gap.releases for gap in gaps.check_class(f"{tmp_path / 'mine.py'}:Mine", both).gaps] == [
        ["accelerate 1.1.0"]
    ]


def test_a_class_of_neither_kind_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotCheck, match="is no class that derives from TrainerCallback or GeneralTracker"):
        check(tmp_path, "class Mine: pass")
