"""conformance.surface.reader: every use of a tracker's module is found, whatever the source calls it."""

from __future__ import annotations

import textwrap

import pytest

from conformance.surface import reader
from conformance.surface.model import Fact, Shape, Use


def read(text: str) -> list[Use]:
    return reader.read(textwrap.dedent(text), "trl/x.py")[0]


def uses(text: str) -> list[str]:
    return [str(use) for use in read(text)]


def test_a_use_tells_its_call_its_place_and_who_makes_it() -> None:
    (use,) = read(
        """
        import trackio
        class GRPO:
            def log(self):
                trackio.Table(1, dataframe=df)
        """
    )
    assert use == Use("trackio", "Table", "call", Shape(1, ("dataframe",)), "trl/x.py:5", "GRPO.log")


@pytest.mark.parametrize(
    "text, found",
    [
        ("import wandb\nurl = wandb.run.url", ["wandb.run.url"]),
        ("import wandb as w\nw.log({})", ["wandb.log(_)"]),
        ("from wandb import run as r\nr.url", ["wandb.import run", "wandb.run.url"]),
        ("import wandb.env\nwandb.env.set_project('p')", ["wandb.import env", "wandb.env.set_project(_)"]),
        ("import wandb\nwandb.init(project='x').log({})", ["wandb.init(project=)", "wandb.init().log(_)"]),
        ("import wandb\nwandb.config['x'] = 1", ["wandb.config[] ="]),
        ("import wandb\nx = wandb.config['x']", ["wandb.config[]"]),
        ("import wandb\nwandb.run.name = 'x'", ["wandb.run.name ="]),
        ("import wandb\nhasattr(wandb, 'run')", ["wandb.run ?"]),
        ("import wandb\ngetattr(wandb, 'run', None)", ["wandb.run ?"]),
        ("import wandb\ngetattr(wandb, 'log')({})", ["wandb.log", "wandb.log(_)"]),
        ("import wandb\nclass A(wandb.Callback): pass", ["wandb.class of Callback"]),
        ("import wandb\ntry: f()\nexcept wandb.Error: pass", ["wandb.except Error"]),
        ("import wandb\ntry: f()\nexcept (KeyError, wandb.Error): pass", ["wandb.except Error"]),
        ("import wandb\nwandb.run.url.split('/')", ["wandb.run.url"]),
        (
            "from torch.utils.tensorboard import SummaryWriter as W\nW(log_dir=d)",
            ["tensorboard.import SummaryWriter", "tensorboard.SummaryWriter(log_dir=)"],
        ),
        ("from torch.utils import tensorboard\ntensorboard.SummaryWriter(d)", ["tensorboard.SummaryWriter(_)"]),
    ],
)
def test_a_name_for_the_module_or_for_a_part_of_it(text: str, found: list[str]) -> None:
    assert uses(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "other._trackio.init()",
        "self.trackio.init()",
        "mytrackio.init()",
        "from .trackio import log\nlog({})",
        "def f(wandb): wandb.log({})",
        "import wandb",
    ],
)
def test_what_is_no_use(text: str) -> None:
    assert uses(text) == []


def test_the_module_that_a_class_keeps_is_found_in_its_methods_and_in_derived_classes() -> None:
    assert uses(
        """
        class A(Base):
            def __init__(self):
                import mlflow
                self._m = mlflow
            def end(self):
                self._m.end_run()
        class B(A):
            def save(self):
                self._m.log_artifact(x, artifact_path=y)
        """
    ) == ["mlflow.end_run()", "mlflow.log_artifact(_, artifact_path=)"]


def test_a_class_derived_from_a_reporting_callback_of_transformers_has_its_module() -> None:
    assert uses("class A(WandbCallback):\n    def f(self): self._wandb.log({})") == ["wandb.log(_)"]


def test_what_init_returned_is_found_through_an_attribute_a_property_and_a_walrus() -> None:
    assert uses(
        """
        class T:
            def start(self):
                import trackio
                self.run = trackio.init(project=p)
            @property
            def tracker(self):
                return self.run
            def log(self, values):
                self.tracker.log(values)
                if (found := self.run.url):
                    found.strip()
        """
    ) == ["trackio.init(project=)", "trackio.init().log(_)", "trackio.init().url", "trackio.init().url"]


@pytest.mark.parametrize(
    "loop",
    [
        "ms = []\nif a:\n    ms.append(trackio)\nif b:\n    ms.append(wandb)\nfor one in ms: one.log({})",
        "for one in (trackio, wandb): one.log({})",
        "one = trackio if a else wandb\none.log({})",
        "def pick():\n    return trackio if a else wandb\npick().log({})",
        "def write(one):\n    one.log({})\nwrite(trackio)\nwrite(one=wandb)",
        "[one.log({}) for one in [trackio, wandb]]",
        "table = {'t': trackio, 'w': wandb}\ntable[name].log({})",
    ],
)
def test_an_expression_may_be_either_of_two_modules(loop: str) -> None:
    assert sorted(uses(f"import trackio, wandb\n{loop}")) == ["trackio.log(_)", "wandb.log(_)"]


@pytest.mark.parametrize(
    "call, shape",
    [
        ("wandb.init(1, a=2)", "(_, a=)"),
        ("wandb.init(*rows)", "(*)"),
        ("wandb.init(**settings)", "(**)"),
        ("kw = {'a': 1}\nwandb.init(**kw)", "(a=)"),
        ("kw = {}\nif x:\n    kw['a'] = 1\nwandb.init(b=2, **kw)", "(b=, a=?)"),
        ("kw = dict(a=1)\nkw.update(c=2)\nwandb.init(**kw)", "(a=, c=?)"),
        ("kw = {'a': 1} if x else {'a': 1, 'b': 2}\nwandb.init(**kw)", "(a=, b=?)"),
        ("kw = {'a': 1}\nkw[name] = 1\nwandb.init(**kw)", "(a=, **)"),
        ("kw = {**other, 'a': 1}\nwandb.init(**kw)", "(a=, **)"),
    ],
)
def test_the_shape_of_a_call(call: str, shape: str) -> None:
    (use,) = read(f"import wandb\n{call}")
    assert (str(use.shape), Shape.parse(shape)) == (shape, use.shape)


@pytest.mark.parametrize(
    "text, guards",
    [
        ("if is_wandb_available():\n    wandb.log({})", ["available: wandb"]),
        (
            "if 'wandb' in self.args.report_to and wandb.run is not None:\n    wandb.log({})",
            ["reported to: wandb", "wandb.run is not None"],
        ),
        ("if a:\n    pass\nelse:\n    wandb.log({})", ["not a"]),
        ("if self.accelerator.is_main_process:\n    wandb.log({})", ["main process"]),
        ("def f():\n    if not state.is_world_process_zero:\n        return\n    wandb.log({})", ["main process"]),
        ("def f():\n    if a or b:\n        raise E\n    wandb.log({})", ["not a", "not b"]),
        ("x = wandb.log({}) if a else None", ["a"]),
        ("a and wandb.log({})", ["a"]),
        ("try:\n    wandb.log({})\nexcept AttributeError:\n    pass", ["caught: AttributeError"]),
        ("try:\n    wandb.log({})\nexcept AttributeError:\n    raise", []),
        ("import threading\ndef work():\n    wandb.log({})\nthreading.Thread(target=work).start()", ["in a thread"]),
        ("def work(x):\n    wandb.log(x)\nThread(target=ctx.run, args=(work, 1)).start()", ["in a thread"]),
        (
            "ms = []\nif 'wandb' in args.report_to:\n    ms.append(wandb)\nfor m in ms:\n    m.log({})",
            ["reported to: wandb"],
        ),
    ],
)
def test_the_conditions_under_which_a_line_is_reached(text: str, guards: list[str]) -> None:
    use = next(use for use in read(f"import wandb\n{text}") if use.path == "log")
    assert list(use.guards) == guards


def test_a_call_over_several_lines_is_where_its_last_name_is() -> None:
    assert [use.where for use in read("import wandb\nwandb.log(\n    {}\n)\n(wandb\n  .run\n  .finish())")] == [
        "trl/x.py:2",
        "trl/x.py:7",
    ]


def test_the_trackers_of_an_accelerator() -> None:
    assert uses(
        """
        class T:
            def f(self):
                self.accelerator.log(stats, step=1)
                self.accelerator.trackers[0].log_images(images)
                self.accelerator.get_tracker("wandb", unwrap=True).log(x)
        """
    ) == [
        "Accelerator.log(_, step=)",
        "GeneralTracker.log_images(_)",
        "Accelerator.get_tracker(_, unwrap=)",
        "GeneralTracker.tracker.log(_)",
    ]


def facts(text: str, part: int) -> list[Fact]:
    return reader.read(textwrap.dedent(text), "trl/x.py")[part]


@pytest.mark.parametrize(
    "text, how",
    [
        ("os.environ['WANDB_PROJECT']", "read"),
        ("os.getenv('WANDB_PROJECT', 'x')", "read"),
        ("os.environ.get('WANDB_PROJECT')", "read"),
        ("os.environ.setdefault('WANDB_PROJECT', 'x')", "setdefault"),
        ("os.environ['WANDB_PROJECT'] = 'x'", "set"),
        ("'WANDB_PROJECT' in os.environ", "read"),
    ],
)
def test_environment_variables(text: str, how: str) -> None:
    assert [(f.module, f.name, f.how) for f in facts(f"import os\n{text}", 1)] == [("wandb", "WANDB_PROJECT", how)]


def test_variables_of_nobody_are_no_tracker_s() -> None:
    assert facts("os.environ['HOME']\nos.environ['RANK']\nother['WANDB_PROJECT']", 1) == []


def test_look_ups_tell_what_the_helper_asks_in_turn() -> None:
    found = facts(
        """
        def _there(name):
            return find_spec(name) is not None and importlib.metadata.metadata(name)
        def is_trackio_available():
            return _is_package_available("trackio")
        def _is_package_available(name):
            return importlib.util.find_spec(name) and importlib.metadata.version(name)
        version = importlib.metadata.version("comet-ml")
        other = importlib.metadata.version("numpy")
        """,
        2,
    )
    assert [(f.module, f.name, f.how) for f in found] == [
        ("trackio", "trackio", "_is_package_available > find_spec, version"),
        ("comet_ml", "comet-ml", "version"),
    ]
