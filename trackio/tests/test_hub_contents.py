"""What a push sends besides rows: files, a card, the origin's view; and what it never sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hubs import REPO, machine, more, no_waiting, push, pusher, requests, tables

import trackio
from trackio.hub import push as push_module


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waiting(monkeypatch)


def test_no_token_is_sent_nor_kept(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123")
    run = machine(tmp_path, name="run of 0123456789abcdef0123")
    run._write_config({"hub_token": hub.token, "env": {"WANDB_API_KEY": "0123456789abcdef0123"}})
    run.log({hub.token: 1.0, "text": f"Bearer {hub.token}", "table": trackio.Table(data=[[hub.token]])})
    run.log({"large": hub.token.encode() + b"x" * 100_000})
    source = tmp_path / "notebook"
    source.write_text(f"login({hub.token!r})")
    run.log_artifact(source)
    run.finish()
    told: list[str] = []
    push(pusher(run, tell=told.append), final=True)
    secrets = [hub.token.encode(), b"0123456789abcdef0123"]
    for path, data in hub.files(REPO, "dataset").items():
        assert not [secret for secret in secrets if secret in data or secret.decode() in path]
    texts = str(tables(hub)) + str([commit.title for commit in hub.commits(REPO)])
    assert not [secret for secret in secrets if secret.decode() in texts] and texts.count("***") >= 5
    assert len(told) == 2 and all("holds a token and is not sent" in line for line in told)
    assert hub.token not in Path(str(run.folder), "push.json").read_text()


def test_values_that_are_files_come_with_their_records(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    run.log({"large": b"x" * 100_000, "again": b"x" * 100_000})
    its = pusher(run)
    its.once()
    (digest,) = [path.name for path in Path(str(run.folder), "files").iterdir()]
    assert hub.files(REPO)[f"files/{digest}"] == b"x" * 100_000
    run.log({"large": b"x" * 100_000})
    start = len(hub.requests)
    its.once()
    assert requests(hub, start) == ["POST commit"], "what is there is not sent again"


def test_contents_of_artifacts_come_at_the_end_and_large_ones_when_asked(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = machine(tmp_path / "store")
    monkeypatch.setattr(push_module, "LARGE", 1000)
    monkeypatch.setattr(push_module, "FILES", 2)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(5):
        (source / str(number)).write_bytes(b"%d" % number)
    (source / "large").write_bytes(b"x" * 2000)
    run.log_artifact(source)
    told: list[str] = []
    its = pusher(run, tell=told.append)
    its.once()
    assert not [path for path in hub.files(REPO) if path.startswith("files/")]
    run.finish()
    push(its, final=True)
    kept = {path for path in hub.files(REPO) if path.startswith("files/")}
    assert len(kept) == 5 and told[-1].startswith(
        "1 large files of artifacts stay here; `trackio push --large`"
    )
    push(pusher(run, large=True), final=True)
    assert len([path for path in hub.files(REPO) if path.startswith("files/")]) == 6


def test_a_card_that_is_there_is_kept_and_extended(hub: Any, tmp_path: Path) -> None:
    hub.create(REPO, "dataset", private=True)
    config = "configs:\n- config_name: mine\n  data_files: mine.csv\n  default: true\n"
    text = f"---\nlicense: mit\n{config}---\n\nMy words.\n"
    hub.put(REPO, {"README.md": text.encode()})
    run = machine(tmp_path)
    its = pusher(run)
    push(its)
    card = hub.files(REPO)["README.md"].decode()
    assert "license: mit" in card and "My words." in card and card.count("default: true") == 1
    for name in ("mine", "metrics", "tables", "system", "runs", "experiments"):
        assert f"config_name: {name}\n" in card
    more(run, 5)
    start = len(hub.requests)
    its.once()
    assert "POST validate-yaml" not in requests(hub, start), "once is enough"


def test_the_tables_can_be_loaded(hub: Any, tmp_path: Path) -> None:
    import datasets

    run = machine(tmp_path)
    run._write_config({"lr": 1e-4})
    run.log({"table": trackio.Table(columns=["a"], data=[[1]])})
    run.log_system({"cpu": 0.5})
    run.finish()
    push(pusher(run), final=True)
    rows = datasets.load_dataset(REPO, split="train")
    assert [(row["step"], row["value"]) for row in rows if row["key"] == "loss"] == [
        (step, 1 / (step + 1)) for step in range(10)
    ]
    assert " ".join(rows.column_names) == "run_id writer seq place time step key value json"
    runs = datasets.load_dataset(REPO, "runs", split="train")
    assert runs["kind"][:] == ["open", "cfg", "status"] and set(runs["name"]) == {"n"}
    assert datasets.load_dataset(REPO, "tables", split="train")["key"][:] == ["table"]
    assert datasets.load_dataset(REPO, "system", split="train")["value"][:] == [0.5]
    (view,) = datasets.load_dataset(REPO, "experiments", split="train")
    assert view["name"] == "n" and view["status"] == "finished"


def test_the_origins_view(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = machine(tmp_path, logs=0)
    its = pusher(run)
    its.once()
    (view,) = tables(hub)["experiments"]
    assert " ".join(view) == (
        "experiment_id name description created_at status metrics parameters artifacts logs last_updated"
    )
    assert (view["status"], view["metrics"]) == ("running", "[]")
    run._write_config({"lr": 1e-4})
    source = tmp_path / "model"
    source.write_bytes(b"m")
    run.log_artifact(source, type="model")
    more(run, 500)
    run.finish()
    push(its, final=True)
    (view,) = tables(hub)["experiments"]
    metrics = json.loads(view["metrics"])
    assert view["status"] == "finished" and json.loads(view["parameters"]) == {"lr": 1e-4}
    assert len(metrics) == 100 and [metrics[0]["step"], metrics[-1]["step"]] == [0, 499]
    assert metrics[0]["metrics"] == {"loss": 1.0, "step": 0} and view["last_updated"] > view["created_at"]
    (artifact,) = json.loads(view["artifacts"])
    assert artifact["name"] == "model" and json.loads(view["logs"]) == []
