"""conformance.matrix.plan and merge, and the pages made of results: pure functions, and their errors in one line."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from test_results import VALIDATOR

from conformance import __main__ as command
from conformance.matrix import eras, merge, plan
from conformance.report import matrix, summary

VERSIONS = {"trl": "1.16.0", "transformers": "5.23.0", "acme": "2.0"}


def check(clause: str, subject: str, outcome: str = "holds", reason: str = "", **more: Any) -> dict[str, Any]:
    """Return an entry as it stands in a results file."""
    level = {"ATT": 0, "REC": 1, "TRN": 2}[clause[:3]]
    gap = None
    if outcome == "gap":
        told = dict.fromkeys(("title", "must", "source", "detail", "again", "alone"), "x")
        gap = {"id": f"{clause}-0a1b", "clause": clause, "subject": subject, "tracker": "acme", "versions": VERSIONS}
        gap |= told | {"blame": "tracker", "differences": []}
    return {
        "id": f"test_x[acme-{clause}-{subject}]",
        "clause": clause,
        "level": level,
        "subject": subject,
        "outcome": outcome,
        "reason": reason,
        "scored": not subject.startswith("experimental."),
        "refused": False,
        "seconds": 1.25,
        "gap": gap,
        "unreachable": [],
        **more,
    }


def report(*entries: dict[str, Any], trl: str = "1.16.0", tracker: str = "acme", **more: Any) -> dict[str, Any]:
    """Return the report of some checks, of which there are as many as `more` says."""
    return summary.report(tracker, {**VERSIONS, "trl": trl}, list(entries), more.pop("collected", {}), **more)


# ---- plan ------------------------------------------------------------------------------------------------------------


def test_the_matrix_has_every_era_once_a_shard() -> None:
    cells = plan.plan(2)
    assert [cell["minor"] for cell in cells[::2]] == [era.minor for era in eras.eras()]
    assert cells[:2] == [
        {"environment": "trl0.7", "minor": "0.7", "shard": "1/2"},
        {"environment": "trl0.7", "minor": "0.7", "shard": "2/2"},
    ]


def test_releases_and_trackers_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["matrix", "--json", "--releases", "1.10", "0.9", "--tracker", "wandb", "--tracker", "reference"]
    assert command.main(words) == 0
    told = [cell["environment"] for cell in json.loads(capsys.readouterr().out)]
    assert told == ["trl0.9-wandb", "trl0.9", "trl1.10-wandb", "trl1.10"]
    assert command.main(["matrix", "--releases", "0.9"]) == 0
    assert capsys.readouterr().out == "tox run -e trl0.9               -- --experimental --variants --shard 1/1\n"
    assert command.main(["matrix", "--tox", "--shards", "2", "--releases", "0.9", "1.16"]) == 0
    assert capsys.readouterr().out == "trl0.9,trl1.16\n"


@pytest.mark.parametrize(
    "words, line",
    [
        (["--releases", "2.5"], "there is no era of TRL 2.5; there are 0.7, 0.8, "),
        (["--tracker", "acme"], "tox has no factor for the tracker acme; it has reference, wandb, "),
        (["--shards", "0"], "0 shards: at least one runs"),
    ],
)
def test_a_matrix_that_there_is_not_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["matrix", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"trl-conformance matrix: {line}")
    assert error.count("\n") == 1


# ---- merge -----------------------------------------------------------------------------------------------------------

COLLECTED = {"0": 1, "1": 1, "2": 2}
FIRST = report(check("ATT-01", "attach"), check("TRN-01", "sft"), collected=COLLECTED, unscored=1, drift=["sft: a"])
SECOND = report(
    check("REC-01", "sft tape", "unreachable", "why"),
    check("TRN-01", "grpo", "gap"),
    check("TRN-01", "experimental.gkd.gkd", "untestable", "why"),
    collected=COLLECTED,
    unscored=1,
    drift=["grpo: b"],
)


def test_shards_become_the_report_of_the_whole_run() -> None:
    assert FIRST["level"] is None
    (whole,) = merge.merge([("a.json", FIRST), ("b.json", SECOND)])
    VALIDATOR.validate(whole)
    everything = FIRST["results"] + SECOND["results"]
    assert whole == report(*everything, collected=COLLECTED, unscored=1, drift=["sft: a", "grpo: b"])
    assert whole["checks"] == {"there": 4, "ran": 4, "by_level": COLLECTED}
    assert whole["level"] == 1
    assert whole["outcomes"]["gap"] == whole["unscored"]["outcomes"]["untestable"] == 1
    assert (FIRST["checks"]["ran"], SECOND["checks"]["ran"]) == (2, 2)


def test_releases_and_trackers_stay_apart_in_their_order() -> None:
    others = [report(check("ATT-01", "attach"), trl=trl) for trl in ("1.2.0", "1.10.1", "0.9.6")]
    other = report(check("ATT-01", "attach"), tracker="zeta")
    merged = merge.merge([(str(i), r) for i, r in enumerate([other, *others, FIRST, SECOND])])
    assert [(r["tracker"], r["versions"]["trl"]) for r in merged] == [
        ("acme", "0.9.6"),
        ("acme", "1.2.0"),
        ("acme", "1.10.1"),
        ("acme", "1.16.0"),
        ("zeta", "1.16.0"),
    ]


def changed(**more: Any) -> dict[str, Any]:
    found = copy.deepcopy(SECOND)
    for key, value in more.items():
        found[key] = value if not isinstance(value, dict) else {**found[key], **value}
    return found


@pytest.mark.parametrize(
    "other, line",
    [
        (FIRST, "test_x[acme-ATT-01-attach] and 1 more stands in a.json and in b.json"),
        (changed(versions={"transformers": "5.0"}), "b.json ran with transformers 5.0, a.json with 5.23.0: not parts"),
        (changed(versions={"extra": "1"}), "b.json ran with extra 1, a.json with none"),
        (changed(checks={"by_level": {"0": 9}}), "b.json and a.json are of runs with other checks"),
        (changed(unscored={"there": 0}), "b.json and a.json are of runs with other checks"),
        ({**SECOND, "versions": {}}, "b.json: no training process was started"),
    ],
)
def test_what_does_not_belong_together_is_an_error_with_names(
    other: dict[str, Any],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, told in (("a.json", FIRST), ("b.json", other)):
        Path(name).write_text(json.dumps(told))
    assert command.main(["merge", "a.json", "b.json", "-o", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"trl-conformance merge: {line}")
    assert error.count("\n") == 1
    assert not Path("out").exists()


def test_merge_writes_files_that_merge_and_table_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, told in (("a", FIRST), ("b", SECOND), ("c", report(check("ATT-01", "attach"), trl="0.9.6"))):
        Path(f"{name}.json").write_text(json.dumps(told))
    assert command.main(["merge", "a.json", "b.json", "c.json", "-o", "out"]) == 0
    assert "acme 2.0 · trl 1.16.0 · transformers 5.23.0 · 4 of 4 checks ran · 1 gaps" in capsys.readouterr().out
    assert sorted(path.name for path in Path("out").iterdir()) == ["0.9-acme.json", "1.16-acme.json"]
    command.main(["merge", "out/0.9-acme.json", "out/1.16-acme.json", "-o", "all.json"])
    together = json.loads(Path("all.json").read_text())
    assert [r["versions"]["trl"] for r in together] == ["0.9.6", "1.16.0"]
    assert together[1] == json.loads(Path("out/1.16-acme.json").read_text())
    assert command.main(["merge", "all.json", "a.json", "-o", "out"]) == 2
    assert command.main(["table", "all.json"]) == 0
    assert command.main(["table", "--matrix", "all.json"]) == 0
    assert capsys.readouterr().out.endswith(matrix.page(together))


def test_a_file_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("[1]")
    for words in (["merge", str(tmp_path / "x.json"), "-o", "out"], ["table", str(tmp_path / "gone.json")]):
        assert command.main(words) == 2
        assert "is no results file of this kit" in (error := capsys.readouterr().err)
        assert error.count("\n") == 1


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_says_what_became_of_every_trainer() -> None:
    old = report(
        check("ATT-01", "attach", "untestable", "no sandbox"),
        check("REC-01", "sft tape", "gap"),
        check("TRN-01", "sft"),
        check("TRN-02", "sft", "gap"),
        check("TRN-03", "sft", "gap"),
        check("TRN-01", "ppo", "untestable", "a < b | c\nand more"),
        check("TRN-02", "ppo", "untestable", "a < b | c\nand more"),
        check("TRN-01", "experimental.gkd.gkd", "unreachable", "why", seconds=3.0),
        trl="0.9.6",
    )
    new = report(check("TRN-01", "sft"), check("TRN-01", "grpo", "gap"), check("TRN-01", "ppo", "untestable", "other"))
    page = matrix.page([new, old])
    lines = page.splitlines()
    assert "| 0.9.6 | 5.23.0 | 2.0 | 3 | 2 | 1 | 7 of 7 | 3 | 1 of 1 | 0 | 12 |" in lines
    assert "| 1.16.0 | 5.23.0 | 2.0 | 3 | 1 | 1 | 3 of 3 | 1 | 0 of 0 | 0 | 4 |" in lines
    start = lines.index("| trainer | 0.9 | 1.16 | seconds |")
    assert lines[start + 2 : start + 6] == [
        "| grpo |  | ✗ | 1.2 |",
        "| ppo | U | U | 1.2–2.5 |",
        "| sft | ✓ 2 | ✓ | 1.2–3.8 |",
        "| _gkd.gkd_ | ✓ u |  | 3.0 |",
    ]
    assert lines[-3:] == [
        "* attach (0.9): no sandbox",
        "* ppo (0.9): a &lt; b / c and more",
        "* ppo (1.16): other",
    ]
    assert "## acme" in lines


def test_only_the_check_of_the_end_says_whether_a_trainer_was_trained() -> None:
    untestable = check("TRN-12", "sft", "untestable", "x")
    unreached = check("TRN-01", "ddpo", "unreachable", "accelerate door only")
    found = report(check("TRN-01", "sft"), untestable, check("TRN-02", "dpo"), unreached)
    page = matrix.page([found])
    assert "| sft | ✓ | 2.5 |" in page
    assert "| dpo | ✓ | 1.2 |" in page
    assert "| ddpo | ✓ u | 1.2 |" in page
