"""conformance.registry: a word on the command line becomes a class, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import registry
from conformance.tracker import Tracker

WHOLE = """
from conformance import Tracker

class Acme(Tracker):
    def attach(self, store, run):
        return "acme"

    def read(self, store, run):
        return []

class Half(Tracker):
    def attach(self, store, run):
        return "acme"

class Stranger:
    pass

number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a whole adapter, half of one, and what is none."""
    path = tmp_path / "acme.py"
    path.write_text(WHOLE)
    return path


def test_a_registered_name_is_loaded() -> None:
    cls = registry.load("reference")
    assert issubclass(cls, Tracker)
    assert cls.name == "reference"


def test_the_kits_own_adapters_are_registered() -> None:
    assert registry.registered().keys() >= {"reference", "trackio", "wandb", "tensorboard", "mlflow"}


def test_a_class_is_loaded_from_a_module() -> None:
    assert registry.load("conformance.trackers.reference:Reference") is registry.load("reference")


def test_a_class_is_loaded_from_a_file_once(file: Path) -> None:
    cls = registry.load(f"{file}:Acme")
    assert cls.name == "acme"
    assert registry.load(f"{file}:Acme") is cls


def test_files_of_one_name_are_kept_apart(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    other.write_text(WHOLE)
    assert registry.load(f"{file}:Acme") is not registry.load(f"{other}:Acme")


@pytest.mark.parametrize(
    "word, message",
    [
        ("refrence", r"no tracker 'refrence'\. Did you mean 'reference'\? Registered: .*trackio"),
        ("nothing-like-it", r"no tracker 'nothing-like-it'\. Registered: "),
        ("no.such.module:Acme", "cannot import 'no.such.module': ModuleNotFoundError"),
        ("no/such/file.py:Acme", r"there is no file file\.py"),
        ("conformance.tracker:Nothing", "has no class 'Nothing'"),
        ("conformance.tracker:Point", "Point must be a subclass of conformance.Tracker"),
    ],
)
def test_an_unusable_word_is_refused_with_what_to_do(word: str, message: str) -> None:
    with pytest.raises(registry.UnknownTracker, match=message):
        registry.load(word)


@pytest.mark.parametrize(
    "name, message",
    [
        ("Half", "class Half has no read(self, store, run); define it"),
        ("Stranger", "Stranger must be a subclass"),
        ("number", "number must be a subclass"),
        ("Acne", "has no class 'Acne'"),
    ],
)
def test_an_unusable_class_in_a_file_is_refused(file: Path, name: str, message: str) -> None:
    with pytest.raises(registry.UnknownTracker) as refused:
        registry.load(f"{file}:{name}")
    assert message in str(refused.value)


def test_a_file_that_fails_says_the_same_the_second_time(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_library_at_all\nclass Acme: pass\n")
    for _ in range(2):
        with pytest.raises(registry.UnknownTracker, match="No module named 'no_such_library_at_all'"):
            registry.load(f"{tmp_path / 'broken.py'}:Acme")


def test_only_a_files_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry.absolute("acme.py:Acme") == f"{tmp_path.resolve()}/acme.py:Acme"
    assert registry.absolute("acme.module:Acme") == "acme.module:Acme"
    assert registry.absolute("reference") == "reference"


def test_two_distributions_of_one_module_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        registry.importlib.metadata, "packages_distributions", lambda: {"trackio": ["b-trackio", "trackio"]}
    )
    assert "pip uninstall b-trackio trackio" in registry.unusable("reference")


@pytest.mark.parametrize(
    "word, installed, said",
    [
        ("reference", "0.43.0", "is the tracker 'trackio'. Say --tracker trackio"),
        ("trackio", "0.43.0+reference.1", "is the tracker 'reference'. Say --tracker reference"),
        ("reference", "", "is not installed: pip install ./trackio"),
        ("mlflow", "", "the distribution mlflow is not installed: pip install mlflow"),
        ("reference", "0.43.0+reference.1", ""),
        ("trackio", "0.43.0", ""),
    ],
)
def test_a_tracker_that_is_not_the_one_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, word: str, installed: str, said: str
) -> None:
    monkeypatch.setattr(registry.importlib.metadata, "packages_distributions", dict)
    monkeypatch.setattr(registry.load(word), "version", lambda: installed)
    line = registry.unusable(word)
    assert said in line
    assert bool(said) == bool(line)


def test_a_refusal_of_no_capability_names_those_that_exist(tmp_path: Path) -> None:
    path = tmp_path / "acme.py"
    path.write_text(WHOLE.replace("class Acme(Tracker):", 'class Acme(Tracker):\n    lacks = {"exactness": "float32"}'))
    with pytest.raises(
        registry.UnknownTracker, match=r"lacks 'exactness' is no capability; what can be refused: exact"
    ):
        registry.load(f"{path}:Acme")
