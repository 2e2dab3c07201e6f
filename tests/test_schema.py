"""conformance.matrix.schema and diff: what of a tape is its schema, and what two releases' schemas say in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance import __main__ as command
from conformance.matrix import diff, schema
from conformance.tape import Tape
from conformance.values import encode, encode_table

NAN = {"$": "float", "v": "nan"}


def log(step: int, **logs: Any) -> dict[str, Any]:
    return {"event": "on_log", "step": step, "logs": {key.replace("__", "/"): value for key, value in logs.items()}}


def call(path: str, *args: Any, where: str = "trl/trainer/grpo_trainer.py:7", **kwargs: Any) -> dict[str, Any]:
    told = {"path": path, "args": list(args), "kwargs": kwargs, "where": where}
    return {"event": "call", "door": "module", "step": 1, **told}


TABLE = encode_table(["step", "prompt", "accuracy", "reward", "advantage"], [["1", "p", 0.5, 1.0, 0.0]])
TAPE = Tape(
    {"trainer": "GRPOTrainer"},
    [
        {"event": "handler", "step": 0, "before": [], "inside": []},
        {"event": "on_train_begin", "step": 0},
        {"event": "on_prediction_step", "step": 0},
        {"event": "on_prediction_step", "step": 0},
        log(1, loss=0.5, rewards__accuracy__mean=1.0, rewards__chosen=0.5, reward=1.0),
        call("wandb.Table", dataframe=TABLE),
        call("wandb.log", {"completions": TABLE}),
        call(
            "wandb.log", {"profiling/Time taken: GRPOTrainer.accuracy": 0.1}, step=1, where="trl/extras/profiling.py:3"
        ),
        {**call("wandb.init"), "door": "integration"},
        log(2, loss=NAN, rewards__accuracy__mean=None, rewards__reward=1.0, eval_rewards__f=1, kl=encode((1, 2))),
        {"event": "end", "step": 2, "log_history": [], "config": {"beta": 0.1, "report_to": ["wandb"], "seed": 1}},
    ],
)


def test_a_schema_has_keys_and_types_and_no_values() -> None:
    found = schema.schema(TAPE)
    assert found["events"] == "train_begin:0 prediction_step:0 log:1 log:2"
    assert found["metrics"] == {
        "eval_rewards/*": "int",
        "kl": "tuple",
        "loss": "float",
        "reward": "float",
        "rewards/*": "float",
        "rewards/*/mean": "NoneType|float",
        "rewards/chosen": "float",
    }
    assert found["config"] == {"beta": "float", "report_to": "list", "seed": "int"}
    assert found["tables"] == {"completions": ["step", "prompt", "*", "reward", "advantage"]}
    assert found["logged"] == {"profiling/Time taken: GRPOTrainer.*": "float"}
    assert found["calls"] == {
        "wandb.Table(dataframe)": ["trl/trainer/grpo_trainer.py:7"],
        "wandb.log()": ["trl/trainer/grpo_trainer.py:7"],
        "wandb.log(step)": ["trl/extras/profiling.py:3"],
    }


@pytest.mark.parametrize(
    "encoded, word",
    [
        (None, "NoneType"),
        (True, "bool"),
        (NAN, "float"),
        ([1], "list"),
        ({"a": 1}, "dict"),
        ({"$": "torch", "dtype": "float32", "v": 1.0}, "torch.float32"),
        ({"$": "numpy", "dtype": "int64", "v": [1]}, "numpy.int64[]"),
        ({"$": "repr", "type": "pathlib.Path", "v": "…"}, "pathlib.Path"),
        (TABLE, "table"),
    ],
)
def test_types_have_words(encoded: Any, word: str) -> None:
    assert schema.kind(encoded) == word


def test_the_configuration_told_to_accelerate_counts() -> None:
    tape = Tape({}, [{"event": "told", "step": 0, "config": {"seed": 1}}, {"event": "end", "step": 1, "config": {}}])
    assert schema.schema(tape)["config"] == {"seed": "int"}


def entry(name: str = "GRPOTrainer", module: str = "trl", **parts: Any) -> dict[str, Any]:
    """Return a trainer's schema, `parts` put in place of those of an ordinary one."""
    ordinary = {"events": "train_begin:0 log:1", "metrics": {"loss": "float"}, "config": {"seed": "int"}}
    return {"class": name, "module": module, "tables": {}, "logged": {}, "calls": {}, **ordinary, **parts}


def release(trl: str, **trainers: dict[str, Any]) -> dict[str, Any]:
    """Return a release's schemas, as they come back from its file."""
    told = {id.replace("__", "."): found for id, found in trainers.items()}
    return schema.load(schema.dump({"trl": trl, "torch": "2"}, told))


def test_a_file_tells_every_trainer_whole() -> None:
    trainers = {
        "a": entry(config={"seed": "int", "x": "str"}),
        "b": entry(config={"seed": "int", "x": "int"}),
        "c": entry(config={"x": "str"}),
        "experimental.d": {"class": "D", "module": "trl.experimental.d", "untestable": "why"},
    }
    text = schema.dump({"trl": "1.0.0", "torch": "2"}, trainers)
    assert schema.load(text) == {"versions": {"trl": "1.0.0"}, "trainers": trainers}
    assert json.loads(text)["config"] == {"seed": "int", "x": "str"}
    assert text.count("\n") == 8


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(c.trainer, c.part, f"{c.how} {c.what()}") for c in diff.diff(old, new)]


def test_trainers_are_added_gone_and_moved() -> None:
    dpo = entry("DPOTrainer", "trl.experimental")
    old = release("1.0.0", kto=entry("KTOTrainer"), ppo=entry("PPOTrainer"), experimental__dpo=dpo)
    new = release("1.1.0", kto=entry("KTOTrainer"), sft=entry("SFTTrainer"), dpo=entry("DPOTrainer"))
    assert changes(old, new) == [
        ("dpo", "trainers", "now DPOTrainer: experimental.dpo → dpo"),
        ("ppo", "trainers", "gone ppo (PPOTrainer)"),
        ("sft", "trainers", "new sft (SFTTrainer)"),
    ]


def test_a_trainer_that_moved_is_compared_with_itself() -> None:
    old = release("1.0.0", experimental__kto=entry("KTOTrainer"))
    new = release("1.1.0", kto=entry("KTOTrainer", metrics={"loss": "float", "entropy": "float"}))
    assert changes(old, new)[1:] == [("kto", "metrics", "new entropy")]


def test_everything_about_a_trainer_that_changes_is_told() -> None:
    old = entry(
        metrics={"loss": "float", "kl": "float"},
        tables={"completions": ["step", "prompt"]},
        logged={"profiling/a": "float"},
        calls={"wandb.log()": ["trl/a.py:3"], "wandb.Table(data)": ["trl/a.py:4"]},
        config={"beta": "float", "gone": "str"},
    )
    new = entry(
        metrics={"loss": "float|int", "entropy": "float"},
        tables={"completions": ["step", "advantage"]},
        logged={},
        calls={"wandb.log()": ["trl/a.py:99"], "trackio.log()": ["trl/b.py:1", "trl/b.py:2"]},
        events="train_begin:0 log:1 log:1 log:2",
        config={"beta": "NoneType", "seed": "int"},
    )
    assert changes(release("1", grpo=old), release("2", grpo=new)) == [
        ("grpo", "metrics", "new entropy"),
        ("grpo", "metrics", "gone kl"),
        ("grpo", "metrics", "now loss: float → float|int"),
        ("grpo", "tables", "new completions[advantage]"),
        ("grpo", "tables", "gone completions[prompt]"),
        ("grpo", "logged", "gone profiling/a"),
        ("grpo", "calls", "new trackio.log() (trl/b.py)"),
        ("grpo", "calls", "gone wandb.Table(data) (trl/a.py)"),
        ("grpo", "events", "now log: at step 1 → at step 1 1 2"),
        ("grpo", "config", "now beta: float → NoneType"),
        ("grpo", "config", "gone gone (str)"),
        ("grpo", "config", "new seed (int)"),
    ]


def test_another_order_of_the_same_events_is_a_change() -> None:
    old, new = (release("1", sft=entry(events=e)) for e in ("save:1 log:1", "log:1 save:1"))
    assert changes(old, new) == [("sft", "events", "now order: save:1 log:1 → log:1 save:1")]


@pytest.mark.parametrize("there", [True, False])
def test_a_trainer_that_trains_no_more_is_told_with_its_reason(there: bool) -> None:
    broken = {"class": "SFTTrainer", "module": "trl", "untestable": "ValueError: x\nmore"}
    sides = [release("1", sft=entry("SFTTrainer")), release("2", sft=broken)]
    said = "trained → ValueError: x" if there else "ValueError: x → trained"
    assert changes(*(sides if there else sides[::-1])) == [("sft", "trainers", f"now sft: {said}")]
    assert changes(sides[1], sides[1]) == []


def test_changes_that_trainers_share_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"config": {"seed": "int", "fp8": "bool"}}
    old = {"sft": entry(), "dpo": entry(), "kto": entry()}
    dpo = entry(**more, metrics={"loss": "float", "a": "float", "b": "int"})
    new = {"sft": entry(**more), "dpo": dpo, "kto": entry(**more)}
    for trl, trainers in (("1.2.0", old), ("1.10.0", new)):
        (tmp_path / f"trl-{trl[:-2]}.json").write_text(schema.dump({"trl": trl, "accelerate": "1"}, trainers))
    assert command.main(["diff", "1.2", "1.10", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "trl 1.2.0 · accelerate 1  →  trl 1.10.0 · accelerate 1\n"
        "\nmetrics\n  dpo\n    new   a, b (int)\n"
        "\nconfiguration keys\n  every trainer\n    new   fp8 (bool)\n"
    )
    assert command.main(["diff", "1.2", "1.10", "--folder", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["changes"]) == 5
    assert told["changes"][0] == {"trainer": "dpo", "part": "metrics", "name": "a", "before": "", "after": "float"}
    assert command.main(["diff", "1.2", "1.2", "--folder", str(tmp_path)]) == 0
    assert "nothing changed for trackers" in capsys.readouterr().out
    assert command.main(["diff", "1.2", "1.3", "--folder", str(tmp_path)]) == 2
    assert "no schema of TRL 1.3 in" in (error := capsys.readouterr().err)
    assert "there are 1.2, 1.10." in error


def test_a_run_is_compared_with_what_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"class": "K", "module": "trl", "untestable": "w"}
    golden = release("1", grpo={**entry(), **schema.schema(TAPE)}, kto=broken)
    monkeypatch.setattr(schema, "_golden", lambda minor: golden if minor == "1.0" else None)
    without_calls = Tape(TAPE.header, [e for e in TAPE.events if e["event"] != "call"])
    assert schema.drift("1.0", "grpo", without_calls) == []
    longer = Tape(TAPE.header, [*TAPE.events[:-1], log(3, new=1.5), TAPE.events[-1]])
    assert schema.drift("1.0", "grpo", longer) == [
        "grpo: metrics: new new",
        "grpo: events: now log: at step 1 2 → at step 1 2 3",
    ]
    assert schema.drift("1.1", "grpo", TAPE) is None
    assert schema.drift("1.0", "sft", TAPE) is None
    assert schema.drift("1.0", "kto", TAPE) is None


def test_a_trainer_that_varies_is_told_as_such_and_not_compared_with_a_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = {"class": "GRPOTrainer", "module": "trl", **schema.schema(TAPE), "varies": True}
    old = {"versions": {"trl": "1.0.0"}, "trainers": {"grpo": entry}}
    new = {"versions": {"trl": "1.1.0"}, "trainers": {"grpo": {**entry, "metrics": {}}}}
    assert diff.words(old, new).endswith("Trained asynchronously, metrics come and go from run to run: grpo")
    monkeypatch.setattr(schema, "_golden", lambda minor: new)
    assert schema.drift("1.1", "grpo", TAPE) is None
