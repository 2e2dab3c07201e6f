"""Tables, images, traces and histograms come back equal, and stay out of the points."""

from __future__ import annotations

import math
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import trackio
from trackio import Array, Histogram, Image, Table, Trace


def logged(value: Any) -> Any:
    """Log one value and read it back, as media or as a table."""
    trackio.init("p", "n", resume="never")
    trackio.log({"key": value}, step=4)
    trackio.finish()
    run = trackio.Api().run("p", "n")
    assert list(run.points()) == [], "rich values are no points"
    ((step, key, found),) = [*run.tables(), *run.media()]
    assert (step, key) == (4, "key")
    return found


@pytest.mark.parametrize(
    "table",
    [
        Table(columns=["a", "b"], rows=[[1, "x"], [2, None]]),
        Table(columns=["a", "b"], data=[[1, "x"], [2, None]]),
        Table(["a", "b"], [[1, "x"], [2, None]]),
        Table(data=[{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        Table(data={"a": [1, 2], "b": ["x", None]}),
        Table(columns=["a", "b"], data=[(1, "x"), {"a": 2, "b": None}.values()]),
    ],
)
def test_every_way_to_make_a_table(table: Table) -> None:
    found = logged(table)
    assert (found.columns, found.rows) == (["a", "b"], [[1, "x"], [2, None]])
    assert found == table


def test_a_table_of_a_frame() -> None:
    import pandas

    frame = pandas.DataFrame({"step": [1, 2], "reward": [0.5, math.nan], "text": ["x", "y"]})
    for found in (
        logged(Table(dataframe=frame)),
        logged(Table(frame)),
        logged(Table(data=frame)),
        logged(frame),
    ):
        assert found.columns == ["step", "reward", "text"]
        assert found.rows[0] == [1, 0.5, "x"] and math.isnan(found.rows[1][1])
        assert [type(cell) for cell in found.rows[0]] == [int, float, str]
    doubled = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    assert logged(Table(dataframe=doubled)).rows == [[1, 2]]


def test_cells_hold_anything() -> None:
    image = Image(b"\x89PNG...")
    found = logged(
        Table(columns=["image", "messages"], rows=[[[image, image], [{"role": "user", "content": []}]]])
    )
    assert found.rows == [[[image, image], [{"role": "user", "content": []}]]]


def test_odd_tables_are_kept_as_they_are() -> None:
    assert logged(Table()).rows == [] and logged(Table(columns=["a"])).columns == ["a"]
    ragged = logged(Table(data=[[1], [2, 3], "text", 4]))
    assert (ragged.columns, ragged.rows) == ([0, 1], [[1], [2, 3], ["text"], [4]])
    table = Table(columns=["a"])
    table.add_data(5)
    assert logged(table).rows == [[5]]


def read_png(data: bytes) -> tuple[int, int, int, bytes]:
    """A reader just for what the writer makes: one IDAT, no filter."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    size = struct.unpack(">I", data[33:37])[0]
    body, crc = data[37 : 41 + size], struct.unpack(">I", data[41 + size : 45 + size])[0]
    assert depth == 8 and body[:4] == b"IDAT" and zlib.crc32(body) == crc
    pixels = zlib.decompress(body[4:])
    stride = len(pixels) // height
    return width, height, colour, b"".join(pixels[y * stride + 1 : (y + 1) * stride] for y in range(height))


@pytest.mark.parametrize(("shape", "colour"), [((2, 3), 0), ((2, 3, 1), 0), ((2, 3, 3), 2), ((2, 3, 4), 6)])
def test_an_array_of_bytes_is_a_png(shape: tuple[int, ...], colour: int) -> None:
    import numpy

    array = numpy.arange(math.prod(shape), dtype="uint8").reshape(shape)
    found = logged(Image(array, caption="ünï"))
    assert (found.format, found.caption) == ("png", "ünï")
    assert read_png(found.data) == (3, 2, colour, array.tobytes())


class Pillow:
    """What is asked of a Pillow image; the real library need not be there."""

    def __init__(self, mode: str) -> None:
        self.mode, self.size = mode, (2, 1)

    def tobytes(self) -> bytes:
        return b"pixels"

    def save(self, file: Any, form: str) -> None:
        file.write(f"{form} of {self.mode}".encode())


def test_a_pillow_image_is_a_png_unless_png_would_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", SimpleNamespace(Image=Pillow))
    for value in (Image(Pillow("RGB")), Pillow("RGB"), Image(Image(Pillow("RGB")))):
        assert (logged(value).format, logged(value).data) == ("png", b"PNG of RGB")
    found = logged(Image(Pillow("CMYK")))
    assert (found.format, found.data, found._mode) == ("raw", b"pixels", ["CMYK", [2, 1]])


def test_other_arrays_are_images_without_loss() -> None:
    import numpy

    array = numpy.random.default_rng(0).random((3, 4, 4)).astype("float32")
    found = logged(Image(array))
    assert found.format == "array"
    assert found.data == Array("float32", (3, 4, 4), array.tobytes())


def test_a_file_is_copied_when_it_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "x.jpeg"
    path.write_bytes(b"\xff\xd8\xff" + b"0" * 100_000)
    found = logged([Image(path), Image(str(path))])
    path.unlink()
    assert [image.format for image in found] == ["jpeg", "jpeg"]
    assert all(image.data == b"\xff\xd8\xff" + b"0" * 100_000 for image in found)


def test_an_image_that_cannot_be_read_is_a_marker_and_no_error() -> None:
    run = trackio.init("p", "n")
    trackio.log({"a": 1, "image": Image("/nowhere.png")})
    assert run.health()["dropped"] == 0
    (_, _, one), (_, _, image) = trackio.Api().run("p", "n").points()
    assert one == 1 and (image.kind, image.type) == ("repr", "trackio.rich.Image")


def test_a_list_of_traces() -> None:
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!", "tool_calls": None}]
    traces = [Trace(messages=messages, metadata={"reward": 0.5, "advantage": math.inf}) for _ in range(2)]
    found = logged(traces)
    assert found == traces
    assert found[0].messages == messages and found[0].metadata == {"reward": 0.5, "advantage": math.inf}


def test_histograms() -> None:
    import numpy

    found = logged(Histogram([1, 2, 2, math.nan, math.inf, 4], num_bins=3))
    assert (found.histogram, found.bins) == ([1, 2, 1], [1.0, 2.0, 3.0, 4])
    counts, edges = numpy.histogram(numpy.arange(10), bins=5)
    given = logged(Histogram(np_histogram=(counts, edges)))
    assert (given.histogram, given.bins) == (counts.tolist(), edges.tolist())
    made = logged(Histogram(numpy.arange(10), num_bins=5))
    assert (made.histogram, made.bins) == (counts.tolist(), pytest.approx(edges.tolist()))
    assert sum(logged(Histogram([7.0] * 3)).histogram) == 3
    assert logged(Histogram([])).histogram == []
    assert sum(logged(Histogram([-1.7e308, 0.0, 1.7e308])).histogram) == 3
