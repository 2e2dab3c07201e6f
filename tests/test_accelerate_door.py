"""conformance.doors.accelerate: what a trainer tells accelerate's tracker is on the tape, and reaches it unchanged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from accelerate import Accelerator, tracking
from transformers import TrainerCallback, trainer_callback

from conformance import Tracker, jobs, recipes, values
from conformance.bench import Bench, Run
from conformance.delivered import Delivered
from conformance.doors import accelerate, callback, ledger
from conformance.doors.callback import Attachment
from conformance.tape import Tape, Writer
from conformance.trainers import Trainer
from conformance.truth import Stored, differences


class Keeper(tracking.GeneralTracker):
    """Keeps the very objects that it is given."""

    name = "keeper"
    requires_logging_directory = False

    def __init__(self, project: str = "", name: str = "") -> None:
        super().__init__()
        self.named = (project, name)
        self.got: list[Any] = []

    @property
    def tracker(self) -> Any:
        return self.got

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.got.append(values)

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        self.got.append((values, step, kwargs))

    def finish(self) -> None:
        self.got.append("finish")


class Rounding(Keeper):
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        values["loss"] = round(values["loss"])


class Table:
    """As wandb's: `columns` and `data`."""

    def __init__(self) -> None:
        self.columns, self.data = ["query", "reward"], [["a", 1.0], ["b", None]]


LOGS = {"loss": 0.5, "ratio": numpy.array([1.0, float("nan")], dtype=numpy.float32), "queries": Table()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tape.jsonl"


@pytest.fixture
def writer(file: Path) -> Writer:
    return Writer(file, {"trainer": "PPOTrainer"})


def train(tracker: Any, writer: Writer) -> Accelerator:
    """Do with an Accelerator what TRL 0.11 does (trainer/ppo_trainer.py), and close it."""
    attachment = Attachment(trackers=[tracker])
    opened = accelerate.settings(attachment, "one", writer)
    accelerator = Accelerator(cpu=True, log_with=opened["log_with"])
    accelerator.init_trackers(
        opened["tracker_project_name"], config={"ppo": {"seed": 0}}, init_kwargs=opened["tracker_kwargs"]
    )
    accelerator.log(LOGS.copy())
    accelerator.log({"loss": 0.25}, step=7, log_kwargs={"keeper": {"commit": True}})
    accelerator.end_training()
    return accelerator


def test_the_tracker_gets_what_it_would_without_the_witness(writer: Writer) -> None:
    keeper = Keeper()
    accelerator = train(keeper, writer)
    config, first, second, end = keeper.got
    assert config == {"ppo": {"seed": 0}}
    assert first[0]["ratio"] is LOGS["ratio"]
    assert first[0]["queries"] is LOGS["queries"]
    assert first[1:] == (None, {})
    assert second == ({"loss": 0.25}, 7, {"commit": True})
    assert end == "finish"
    assert accelerator.get_tracker("keeper", unwrap=True) is keeper.got
    assert accelerator.get_tracker("keeper").named == ("", "")


def test_the_tape_has_what_the_trainer_told(writer: Writer, file: Path) -> None:
    train(Keeper(), writer)
    tape = Tape.load(file)
    assert [e["event"] for e in tape.events] == ["told", "call", "on_log", "on_log", "finished"]
    assert [(p.event, p.step, p.key, str(values.plain(p.value))) for p in tape.logged()] == [
        (0, None, "loss", "0.5"),
        (0, None, "ratio", "[1.0, nan]"),
        (1, 7, "loss", "0.25"),
    ]
    ((key, table),) = ledger.tables(tape)
    assert (key, table["columns"], table["rows"]) == ("queries", ["query", "reward"], [["a", 1.0], ["b", None]])


def test_what_the_tracker_changes_in_the_logs_is_seen(writer: Writer, file: Path) -> None:
    train(Rounding(), writer)
    changed = [(e["before"]["loss"], e["after"]["loss"]) for e in Tape.load(file).of("edited")]
    assert changed == [(0.5, 0), (0.25, 0)]


def test_a_tracker_that_accelerate_makes_by_its_name_has_a_witness(
    writer: Writer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Keeper] = []

    def make(*args: Any, **kwargs: Any) -> Keeper:
        made.append(Keeper(*args, **kwargs))
        return made[-1]

    make.requires_logging_directory = False  # type: ignore[attr-defined]
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "keeper", make)
    monkeypatch.setitem(accelerate.RUN_NAMES, "keeper", "name")
    attachment = Attachment(report_to=["keeper"])
    opened = accelerate.settings(attachment, "one", writer)
    assert opened["log_with"] == "keeper"
    with accelerate.stand(attachment, writer):
        accelerator = Accelerator(cpu=True, log_with="keeper")
        accelerator.init_trackers(opened["tracker_project_name"], init_kwargs=opened["tracker_kwargs"])
        accelerator.log({"loss": 0.5}, step=1)
    assert tracking.LOGGER_TYPE_TO_CLASS["keeper"] is make
    assert made[0].named == (accelerate.PROJECT, "one")
    assert [e["logs"] for e in Tape.load(file).of("on_log")] == [{"loss": 0.5}]
    assert len(made[0].got) == 1


def test_without_a_way_through_the_door_nothing_is_opened(writer: Writer) -> None:
    assert accelerate.settings(Attachment(report_to=["neptune"], callbacks=[object()]), "one", writer) == {}


def test_where_no_step_was_given_none_is_asked_for(writer: Writer, file: Path) -> None:
    train(Keeper(), writer)
    logged = Tape.load(file).logged()
    kept = [Stored(0, "loss", 0.5), Stored(0, "ratio", [1.0, float("nan")]), Stored(7, "loss", 0.25)]
    assert differences(logged, kept, lambda key: key) == []
    (lost,) = differences(logged, [kept[0], kept[2]], lambda key: key)
    assert (lost.kind, lost.key, lost.step) == ("nested", "ratio", None)
    (other,) = differences(logged, [kept[0], Stored(0, "ratio", [1.0, 2.0]), kept[2]], lambda key: key)
    assert other.kind == "nested"
    (moved,) = differences(logged, [*kept[:2], Stored(1, "loss", 0.25)], lambda key: key)
    assert (moved.kind, moved.step, moved.stored_step) == ("step", 7, 1)


def test_the_configuration_is_what_accelerate_was_told(writer: Writer, file: Path) -> None:
    train(Keeper(), writer)
    writer.write({"event": "end", "config": {}})
    tape = Tape.load(file)
    assert ledger.config_differences(tape, {"ppo": {"seed": 0}}) == []
    (lost,) = ledger.config_differences(tape, {"ppo": {"seed": 1}})
    assert (lost.key, lost.trained, lost.stored) == ("seed", 0, 1)


class Handing(Keeper):
    """As accelerate's own classes are: what it is told goes to a run that it holds."""

    hands: tuple[str, ...] = ("loss", "step")

    def __init__(self) -> None:
        super().__init__()
        self.run = SimpleNamespace(log=lambda values, **kwargs: None)

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        given = {"step": step} if "step" in self.hands else {}
        self.run.log({key: value for key, value in values.items() if key in self.hands}, **given)


@pytest.mark.parametrize(
    ("hands", "blames"),
    [(("loss", "step"), ["trl", "tracker"]), (("loss", "ratio"), ["tracker", "trl"])],
)
def test_what_accelerate_itself_leaves_out_is_not_blamed_on_the_tracker(
    hands: tuple[str, ...], blames: list[str], writer: Writer, file: Path
) -> None:
    accelerates = type("AcmeTracker", (Handing,), {"hands": hands, "__module__": "accelerate.tracking"})
    train(accelerates(), writer)
    tape = Tape.load(file)
    kept = [Stored(None, "loss", 0.5), Stored(None, "loss", 0.25)]
    lost, moved = differences(tape.logged(), kept, lambda key: key, Delivered.of(tape))
    assert [(lost.key, lost.kind), (moved.key, moved.kind)] == [("ratio", "nested"), ("loss", "step")]
    assert [lost.blame, moved.blame] == blames
    notes = [d.note for d in (lost, moved) if d.blame == "trl"]
    assert all(note.startswith("accelerate's AcmeTracker did not hand") for note in notes)


# ---- a live run ------------------------------------------------------------------------------------------------------


class Acme(Tracker):
    """Attached at both doors, or at one."""

    doors = ("callback", "accelerate")

    def attach(self, store: Path, run: str) -> Any:
        both = {"callback": TrainerCallback(), "accelerate": Keeper()}
        return [both[door] for door in self.doors]


class OnlyCallback(Acme):
    doors = ("callback",)


class OnlyAccelerate(Acme):
    doors = ("accelerate",)


def live(adapter: type[Tracker], built: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Tape]:
    """Run `built(settings)` as the job of the sandbox does, in this process."""
    monkeypatch.setattr(jobs.registry, "load", lambda word: adapter)
    monkeypatch.setattr(recipes, "build", lambda t, f, m, callbacks, settings, doors: built(settings))
    monkeypatch.setattr(recipes, "train", lambda trainer, built: built.train())
    trainer = Trainer("DDPOTrainer", "trl", True)
    outcome = jobs.live("acme", trainer, folder, "one", folder, folder, {})
    return outcome, Tape.load(folder / "tape.jsonl")


class ByAccelerate:
    """A trainer as DDPO is one: an accelerator, and no callbacks."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.accelerator = Accelerator(cpu=True, log_with=settings.get("log_with"))
        self.accelerator.init_trackers("trl", config={"seed": 3})

    def train(self) -> None:
        for step in range(2):
            self.accelerator.log({"reward": numpy.array([step, 0.5]), "epoch": step}, step=step)
        self.accelerator.end_training()


def test_a_trainer_without_callbacks_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, tape = live(Acme, ByAccelerate, tmp_path, monkeypatch)
    assert outcome["stage"] == "done", outcome["trace"]
    assert tape.end["door"] == "accelerate"
    assert tape.end["step"] == 2
    assert [(p.step, p.key) for p in tape.logged()] == [(0, "reward"), (0, "epoch"), (1, "reward"), (1, "epoch")]
    assert list(tape.of("unreachable")) == []
    assert [list(entry) for entry in tape.history()] == [["reward", "epoch"]] * 2


def test_a_tracker_that_is_not_at_the_trainers_door_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, tape = live(OnlyCallback, ByAccelerate, tmp_path, monkeypatch)
    assert outcome["stage"] == "done", outcome["trace"]
    assert [e["door"] for e in tape.of("unreachable")] == ["accelerate"]

    def by_callbacks(settings: dict[str, Any]) -> Any:
        state = SimpleNamespace(global_step=0, log_history=[])
        args = SimpleNamespace(to_dict=dict, run_name="one")
        return SimpleNamespace(callback_handler=None, accelerator=None, state=state, args=args, train=lambda: None)

    (tmp_path / "other").mkdir()
    outcome, tape = live(OnlyAccelerate, by_callbacks, tmp_path / "other", monkeypatch)
    assert outcome["stage"] == "done", outcome["trace"]
    assert [e["door"] for e in tape.of("unreachable")] == ["callback"]


def test_keys_are_kept_as_logged_or_by_the_trackers_own_rule(tmp_path: Path) -> None:
    class Renaming(Tracker):
        def key(self, key: str) -> str:
            return f"train/{key}"

    logs = {"event": "on_log", "step": 0, "logs": {"reward": 1.0, "epoch": 0}}
    tape = Tape({}, [logs, {"event": "end", "door": "accelerate"}])
    bench = object.__new__(Bench)
    bench.adapter = Renaming

    def kept(*points: list[Any]) -> list[tuple[str, str]]:
        run = Run("one", tape, "done", "", "", tmp_path, {"points": {"value": list(points)}})
        return [(d.kind, d.key) for d in bench.differences(run)]

    assert kept([0, "reward", 1.0], [0, "train/epoch", 0]) == []
    assert kept([0, "reward", 1.0]) == [("missing", "epoch")]
    assert kept([0, "reward", 2.0], [0, "epoch", 0]) == [("value", "reward")]


def test_a_callback_that_is_added_to_a_built_trainer_has_the_witness_before_it(writer: Writer, file: Path) -> None:
    """Iterative SFT (0.8 to 0.23) takes no callbacks: its users add them."""
    ours = TrainerCallback()
    with callback.stand(Attachment(callbacks=[ours]), writer):
        handler = trainer_callback.CallbackHandler([trainer_callback.PrinterCallback], None, None, None, None)
        handler.add_callback(ours)
        handler.add_callback(trainer_callback.ProgressCallback)
    names = [type(c).__name__ for c in handler.callbacks]
    assert names == ["PrinterCallback", "Witness", "TrainerCallback", "Watch", "ProgressCallback"]
    assert [e["before"] for e in Tape.load(file).of("handler")] == [["PrinterCallback"]]


def test_a_handler_made_of_another_ones_callbacks_keeps_its_one_witness(writer: Writer, file: Path) -> None:
    """DPO with a BEMA reference model does that (TRL 1.16.0, experimental/bema_for_ref_model/dpo_trainer.py)."""
    ours = TrainerCallback()
    with callback.stand(Attachment(callbacks=[ours]), writer):
        first = trainer_callback.CallbackHandler([ours], None, None, None, None)
        second = trainer_callback.CallbackHandler(first.callbacks, None, None, None, None)
    assert [type(c).__name__ for c in second.callbacks] == ["Witness", "TrainerCallback", "Watch"]
    assert len(list(Tape.load(file).of("handler"))) == 1
