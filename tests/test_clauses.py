"""conformance.clauses: the law is whole, and every requirement is made by a line of the installed release."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from conformance import clauses
from conformance.clauses import FILES, FROZEN, LEVELS, Clause, all_clauses, frozen, frozen_text, located
from conformance.tracker import OPTIONAL
from conformance.trainers import release
from conformance.truth import KINDS

#: Kinds of evidence that are not differences of points.
OTHERS = {"raised", "edited", "mixed", "steered", "changed", "status", "config", "table", "litter", "checkpoints"}
LAW = list(all_clauses().values())
each = pytest.mark.parametrize("law", LAW, ids=[law.id for law in LAW])


def is_asked(law: Clause) -> bool:
    """Whether the installed release makes the requirement at all."""
    wanted = Requirement(law.since) if law.since else None
    return wanted is None or wanted.specifier.contains(release(wanted.name), prereleases=True)


@each
def test_a_clause_says_what_it_asks_and_who_makes_it(law: Clause) -> None:
    assert law.title
    assert not law.title.endswith(".")
    assert law.must.endswith((".", ")"))
    assert law.keyword in ("MUST", "SHOULD", "MAY")
    assert law.keyword in law.must
    assert re.fullmatch(r"(trl|transformers|huggingface_hub)/[a-z_/]+\.py", law.source)
    assert law.quote


@each
def test_a_clauses_kinds_needs_and_capability_are_known(law: Clause) -> None:
    assert set(law.kinds) <= KINDS.keys() | OTHERS
    assert set(law.needs) <= {"module", *OPTIONAL}
    assert bool(law.capability) is (law.keyword != "MUST"), (
        "what is asked for without MUST, and nothing else, may be refused"
    )


@each
def test_the_quoted_line_is_in_the_installed_release(law: Clause) -> None:
    found = re.fullmatch(r"(.+\.py)(?::(\d+))?", law.line)
    assert found is not None
    assert found[1] == law.source
    assert (found[2] is not None) or not is_asked(law), f"none of {law.quote} is in {law.source}"


def test_ids_follow_from_the_level() -> None:
    names = {"ATT": "attach", "REC": "record", "TRN": "train", "END": "endure", "HUB": "hub"}
    assert list(names.values()) == list(FILES)
    assert all(law.level == FILES[names[law.id[:3]]] for law in LAW)
    for name in names:
        mine = [law.id for law in LAW if law.id.startswith(name)]
        assert mine == [f"{name}-{n:02d}" for n in range(1, len(mine) + 1)]


def test_a_line_that_is_not_there_leaves_the_file_alone() -> None:
    assert located("transformers/trainer.py", ("no such line anywhere",)) == "transformers/trainer.py"
    assert located("transformers/no_such_file.py", ("x",)) == "transformers/no_such_file.py"
    assert located("no_such_package_at_all/file.py", ("x",)) == "no_such_package_at_all/file.py"


def test_the_first_quote_that_is_there_counts() -> None:
    line = located("transformers/trainer.py", ("no such line anywhere", "class Trainer"))
    assert re.fullmatch(r"transformers/trainer\.py:\d+", line)


def law_files(folder: Path, rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the law be read from `folder`, with `rows` at level 0."""
    for name in FILES:
        (folder / f"{name}.toml").write_text(rows if name == LEVELS[0] else "clause = []\n")
    monkeypatch.setattr(clauses, "__file__", str(folder / "__init__.py"))


ROW = '[[clause]]\nid = "ATT-01"\ntitle = "t"\nmust = "MUST."\nsource = "trl/a.py"\nquote = ["q"]\ncaught = []\n'


@pytest.mark.parametrize(
    "rows, message",
    [
        (ROW + ROW, r"attach\.toml: ATT-01 stands twice"),
        (ROW + 'colour = "red"\n', r"attach\.toml: ATT-01: .*colour"),
        (ROW.replace('title = "t"\n', ""), r"attach\.toml: ATT-01: .*title"),
    ],
)
def test_a_malformed_law_is_refused(rows: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    law_files(tmp_path, rows, monkeypatch)
    with pytest.raises(ValueError, match=message):
        all_clauses.__wrapped__()


def test_frozen_counts_are_numbers_by_release_and_level() -> None:
    for minor, counts in frozen().items():
        assert re.fullmatch(r"\d+\.\d+", minor)
        assert {"0", "1", "2", "3"} <= set(counts) <= {"0", "1", "2", "3", "variants", "experimental"}
        assert all(count > 0 for count in counts.values())


def test_frozen_counts_are_written_as_they_are_read() -> None:
    assert FROZEN.read_text(encoding="utf-8") == frozen_text(frozen())
