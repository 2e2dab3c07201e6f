"""`trackio plot` hides nothing: what is missing in a picture is said in it."""

from __future__ import annotations

import html.parser
import importlib
import math
import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

import trackio
from trackio.cli import main
from trackio.cli.plot import alone, collect, smoothed


@pytest.fixture
def two_runs() -> None:
    for name in ("one", "two <b>$"):
        trackio.init("p", name)
        for step in range(20):
            trackio.log({"loss": math.nan if 5 < step < 9 else 1 / (step + 1), "text": "x"}, step=step)
            trackio.log({"acc/http": step - 3}, step=step)
        trackio.finish()


def plot(path: Path, *arguments: str) -> None:
    importlib.import_module("matplotlib")
    assert main(["plot", "p", "--all", "-o", str(path), *arguments]) == 0


@pytest.mark.usefixtures("two_runs")
def test_a_png_has_both_runs(tmp_path: Path) -> None:
    pillow = importlib.import_module("PIL.Image")
    plot(tmp_path / "o.png")
    with pillow.open(tmp_path / "o.png") as image:
        assert image.format == "PNG" and image.width > 600
        counts = {pixel: count for count, pixel in image.convert("RGB").getcolors(1 << 20)}
    # The colours of the first two runs, C0 and C1.
    assert counts[(31, 119, 180)] > 20 and counts[(255, 127, 14)] > 20


@pytest.mark.usefixtures("two_runs")
def test_an_svg_has_an_axis_for_each_key_and_says_what_is_missing(tmp_path: Path) -> None:
    plot(tmp_path / "o.svg")
    root = xml.etree.ElementTree.parse(tmp_path / "o.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = ["".join(text.itertext()) for text in root.iter(f"{space}text")]
    assert {"loss", "acc/http", "one", r"two <b>$", "6 not finite: gaps"} <= {text.strip() for text in texts}
    assert "text" not in texts
    # A line that breaks begins twice.
    lines = [path.get("d", "").count("M") for path in root.iter(f"{space}path")]
    assert lines.count(2) == 2
    plot(tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "o.svg").read_bytes()


@pytest.mark.usefixtures("two_runs")
def test_a_logarithm_says_what_it_cannot_show(tmp_path: Path) -> None:
    plot(tmp_path / "o.svg", "--log", "--keys", "acc*")
    assert "8 not above 0: gaps" in (tmp_path / "o.svg").read_text()


@pytest.mark.usefixtures("two_runs")
def test_smoothing_is_added(tmp_path: Path) -> None:
    def curves(path: Path) -> int:
        return len(
            re.findall(r"<path d=\"[^\"]*\" clip-path=[^>]*stroke: #(?:1f77b4|ff7f0e)", path.read_text())
        )

    plot(tmp_path / "a.svg", "--keys", "loss")
    plot(tmp_path / "b.svg", "--keys", "loss", "--smooth", "0.9")
    assert curves(tmp_path / "a.svg") == 2 and curves(tmp_path / "b.svg") == 4


@pytest.mark.usefixtures("two_runs")
def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    plot(tmp_path / "o.html", "--x", "time")
    text = (tmp_path / "o.html").read_text("utf-8")

    class Page(html.parser.HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: list[str] = []
            self.addresses: list[str] = []
            self.cells: list[str] = []

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)
            names = ("src", "href", "xlink:href", "action", "data")
            self.addresses += [value or "" for name, value in attributes if name in names]

        def handle_data(self, data: str) -> None:
            self.cells.append(data.strip())

    page = Page()
    page.feed(text)
    assert "svg" in page.tags and not {"script", "link", "img", "iframe"} & set(page.tags)
    assert all(address.startswith("#") for address in page.addresses)
    assert "://" not in text and "url(h" not in text and "@import" not in text
    assert {"two <b>$", "finished", "0.05", "16"} <= set(page.cells)
    assert len(text) < 200_000


@pytest.mark.usefixtures("two_runs")
def test_a_pdf_is_one(tmp_path: Path) -> None:
    plot(tmp_path / "o.pdf")
    assert (tmp_path / "o.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.usefixtures("two_runs")
def test_the_latest_run_alone_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("matplotlib")
    assert main(["plot", "p", "-o", str(tmp_path / "o.svg")]) == 0
    assert "2 metrics of 1 run in" in capsys.readouterr().err
    assert main(["plot", "p", "-o", str(tmp_path / "o.svg")]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["plot", "p", "-o", str(tmp_path / "n.svg"), "--keys", "text"]) == 2
    assert "no metric to plot has a key like text" in capsys.readouterr().err
    assert not (tmp_path / "n.svg").exists()


def test_points_are_as_logged() -> None:
    trackio.init("p", "n")
    trackio.log({"a": True})
    for value, step in ((1.5, 3), (None, 1), (True, 2), (math.inf, 7)):
        trackio.log({"a": value, "b": "x", "c": None}, step=step)
    trackio.finish()
    found = collect(trackio.Api().run("p", "n"), None)
    assert list(found) == ["a"]
    series = found["a"]
    assert repr(list(series.steps)) == "[nan, 3.0, 1.0, 2.0, 7.0]" and series.stepless and series.odd == 2
    assert repr(list(series.values)) == "[1.0, 1.5, nan, 1.0, inf]"
    assert alone([1.0, math.nan, 2.0, 3.0, math.nan, 4.0]) == [0, 5]
    assert smoothed([1.0, 1.0, math.nan, 3.0], 0.5)[:2] == [1.0, 1.0]
    assert math.isnan(smoothed([1.0, math.nan], 0.5)[1])
