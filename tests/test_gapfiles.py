"""conformance.gapfiles: a gap can be tried again from its file, and a file that is none is refused in a line."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from conformance import gapfiles
from conformance.clauses import all_clauses
from conformance.tape import from_payloads
from conformance.truth import Difference
from conformance.verdict import Gap, make_gap

VERSIONS = {"trl": "1.16.0", "acme": "2"}


def gap(clause: str, **more: Any) -> Gap:
    found = [Difference("none-number", 1, "loss", None, 0.0, 1)]
    return make_gap(all_clauses()[clause], "grpo", "acme", VERSIONS, found, **more)


def test_a_written_gap_can_be_replayed(tmp_path: Path) -> None:
    tape = from_payloads([{"loss": None}])
    written = gapfiles.write(gap("REC-03", replay=tape.to_json()), "acme:Acme", str(tmp_path / "results"))
    clause, again = gapfiles.read(tmp_path / "results" / f"{written.id}.json")
    assert clause == "REC-03"
    assert again == tape
    assert written.again.endswith(f"--tracker acme:Acme --replay {tmp_path}/results/{written.id}.json")


def test_the_gap_alone_is_a_program_that_carries_the_tape(tmp_path: Path) -> None:
    tape = from_payloads([{'it\'s "quoted"': "\\ and {braces}"}])
    written = gapfiles.write(gap("REC-03", replay=tape.to_json()), "acme:Acme", str(tmp_path))
    program = Path(written.alone).read_text(encoding="utf-8")
    loads = next(node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Call) and node.args)
    assert isinstance(loads.args[0], (ast.Constant, ast.Call))
    texts = [n.value for n in ast.walk(ast.parse(program)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert json.dumps(tape.to_json()) in texts


@pytest.mark.parametrize("clause, trainer", [("TRN-01", True), ("ATT-01", False)])
def test_a_gap_without_a_tape_names_the_command_alone(tmp_path: Path, clause: str, trainer: bool) -> None:
    written = gapfiles.write(gap(clause), "acme:Acme", str(tmp_path / "results"))
    assert written.alone == ""
    assert written.again.endswith(f"--clause {clause}")
    assert ("--trainer grpo" in written.again) is trainer
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "3",
        "{}",
        '{"clause": "REC-01"}',
        '{"clause": "REC-01", "tape": {}}',
        '{"tape": 3}',
        '{"clause": "REC-99", "tape": {"header": {}, "events": []}}',
    ],
)
def test_a_malformed_file_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "gap.json").write_text(text)
    with pytest.raises(ValueError, match=r"gap\.json is no gap of this kit"):
        gapfiles.read(tmp_path / "gap.json")


def test_bytes_that_are_no_text_are_refused_with_the_files_name(tmp_path: Path) -> None:
    (tmp_path / "gap.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"gap\.json is no gap of this kit"):
        gapfiles.read(tmp_path / "gap.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*gap\.json"):
        gapfiles.read(tmp_path / "gap.json")
