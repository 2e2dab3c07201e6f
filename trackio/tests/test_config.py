"""The configuration: one object for life, every dialect, every change a record."""

from __future__ import annotations

from typing import Any

import pytest

import trackio


def test_config_is_one_object_for_life() -> None:
    config = trackio.config
    config["before"] = 1
    first = trackio.init("p", "one", config={"lr": 0.1})
    assert trackio.config is config and dict(config) == {"before": 1, "lr": 0.1}
    second = trackio.init("p", "two")
    assert trackio.config is config and dict(config) == {}
    assert second.config is config
    first.config["late"] = 2
    assert dict(first.config) == trackio.Api().run("p", "one").config == {"before": 1, "lr": 0.1, "late": 2}
    assert dict(config) == trackio.Api().run("p", "two").config == {}


def test_config_speaks_the_dialects() -> None:
    trackio.init("p", "n")
    config = trackio.config
    config.update({"a": None, "b": {"c": [1]}}, allow_val_change=True)
    config.update(d=1, allow_val_change=False)
    config.update([("e", 2)])
    config["items"], config["update"] = 3, 4
    config.attribute = 5
    config.values = 6
    trackio.log_config({"f": 7})
    expected = {
        "a": None,
        "b": {"c": [1]},
        "d": 1,
        "e": 2,
        "items": 3,
        "update": 4,
        "attribute": 5,
        "values": 6,
    }
    expected["f"] = 7
    assert dict(config.items()) == expected == trackio.Api().run("p", "n").config
    assert "items" in config and "zzz" not in config
    assert config.get("update") == 4 and config.get("zzz", 0) == 0
    assert config.attribute == 5 and config.setdefault("g", 8) == 8
    with pytest.raises(AttributeError, match="zzz"):
        _ = config.zzz
    with pytest.raises(KeyError):
        config["zzz"]


def test_config_keeps_no_reference_and_every_change() -> None:
    trackio.init("p", "n")
    value = [1]
    trackio.config["a"] = value
    value.append(2)
    assert trackio.config["a"] == [1]
    trackio.config["a"] = [3]
    changes = [record[4] for record in trackio.Api().run("p", "n").records() if record[2] == "cfg"]
    assert changes == [{"a": [1]}, {"a": [3]}]


def test_config_comes_back_with_the_run(python: Any) -> None:
    code = "import trackio; trackio.init('p','n',config={'a':(1,2)}); trackio.log({'x':1},step=8)"
    assert python(code).wait() == 0
    trackio.init("p", "n", resume="allow")
    trackio.log({"y": 2})
    assert dict(trackio.config) == {"a": (1, 2)}
    points = list(trackio.Api().run("p", "n").points())
    assert points == [(8, "x", 1), (8, "y", 2)]
