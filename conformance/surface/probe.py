"""A child process that imports a tracker's module, opens a run in it, and looks what serves which use.

It reads a question as JSON (see `ask`) and writes the answer to a file: whatever a module prints goes elsewhere. The
run is opened offline, in a folder of its own, with no socket but loopback.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance.surface import classes
from conformance.surface.model import Use
from conformance.surface.resolve import Missing, Unknown, serves

#: Seconds that the child may take; the modules' own services are slow to start.
LIMIT = 60.0


def offline(folder: Path) -> dict[str, str]:
    """Return the environment under which trackers keep to a folder."""
    return {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_CACHE_HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_XET": "1",
        "TRACKIO_DIR": str(folder),
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_DIR": str(folder),
        "MLFLOW_TRACKING_URI": f"file:{folder}/mlruns",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "SWANLAB_MODE": "offline",
        "SWANLAB_LOG_DIR": str(folder),
        "SWANLAB_SAVE_DIR": str(folder),
        "COMET_START_ONLINE": "0",
        "COMET_OFFLINE_DIRECTORY": str(folder),
        "CLEARML_OFFLINE_MODE": "1",
        "PYTHONSAFEPATH": "1",
    }


class ProbeError(RuntimeError):
    """The child gave no answer; the message says how it ended."""


def ask(question: dict[str, Any], limit: float = LIMIT) -> dict[str, Any]:
    """Return the answer of a child process to a question. Raises ProbeError.

    A question is `{"module": "trackio", "uses": […], "live": true}` or `{"target": "pkg.mod:Class", "hooks": …}`.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "cwd").mkdir()
        (folder / "question.json").write_text(json.dumps(question), encoding="utf-8")
        with (folder / "output.txt").open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "conformance.surface.probe", str(folder)],
                env={**os.environ, **offline(folder / "cwd")},
                cwd=folder / "cwd",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                child.wait(limit)
            except subprocess.TimeoutExpired:
                pass
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        answer = folder / "answer.json"
        if answer.exists():
            told: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
            return told
        printed = (folder / "output.txt").read_text(errors="replace").strip().splitlines()
        how = f"ended with {child.returncode}" if child.returncode != -signal.SIGKILL else f"was killed ({limit:.0f} s)"
        raise ProbeError(f"the process that imports it {how}: {printed[-1] if printed else 'it printed nothing'}")


def main(folder: Path) -> None:
    """Answer the question in `folder`."""
    _no_network()
    question = json.loads((folder / "question.json").read_text(encoding="utf-8"))
    answer = classes.answer(question) if "hooks" in question else _module(question)
    partial = folder / "answer.partial"
    partial.write_text(json.dumps(answer), encoding="utf-8")
    partial.rename(folder / "answer.json")
    sys.stdout.flush()
    # A tracker's exit functions may wait for its server; what was asked is answered.
    os._exit(0)


def _no_network() -> None:
    """Refuse every connection but to this machine."""

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            host = str(arguments[1][0])
            if not (host.startswith("127.") or host in ("::1", "localhost")):
                raise PermissionError(f"no network here: {host}")
        elif event == "socket.getaddrinfo" and arguments[0] not in (None, "", "localhost", "127.0.0.1", "::1"):
            raise PermissionError(f"no network here: {arguments[0]}")

    sys.addaudithook(look)


def _module(question: dict[str, Any]) -> dict[str, Any]:
    name = question["module"]
    began = time.perf_counter()
    try:
        step = f"{question['before']}()"
        if question["before"]:
            _load(question["before"])()
        step = f"import {name}"
        module = _load(name)
    except Exception as error:
        return {"error": f"{step} fails: {_root(error)}"}
    imported = time.perf_counter() - began
    live, remark = _open(module, name) if question["live"] else ({}, "no run was opened")
    began = time.perf_counter()
    results = [_one(module, name, Use.from_json(told), live) for told in question["uses"]]
    told: dict[str, Any] = {"results": results, "live": remark, "version": str(getattr(module, "__version__", ""))}
    told["seconds"] = {"import": imported, "look": time.perf_counter() - began}
    told["lookups"] = _lookups(question["lookups"])
    _close(module)
    return told


def _root(error: BaseException) -> str:
    """Return the first of a chain of errors: a module that tries other names when one fails tells the last."""
    first = error
    while first.__cause__ or first.__context__:
        first = first.__cause__ or first.__context__  # type: ignore[assignment]
    return f"{type(first).__name__}: {first}"


def _load(name: str) -> Any:
    place, _, attribute = name.partition(":")
    module = importlib.import_module(place)
    return getattr(module, attribute) if attribute else module


def _one(module: Any, name: str, use: Use, live: dict[str, Any]) -> dict[str, str]:
    try:
        remark = serves(module, use, name, live)
    except Missing as error:
        return {"outcome": "missing", "at": error.at, "why": str(error)}
    except Unknown as error:
        return {"outcome": "unknown", "why": str(error)}
    return {"outcome": "remark" if remark else "serves", "why": remark}


def _open(module: Any, name: str) -> tuple[dict[str, Any], str]:
    """Open a run in the module; return what is live then, and a remark if none could be opened."""
    if not callable(getattr(module, "init", None)):
        return {}, f"{name} has no init: no run was opened"
    try:
        with _quiet():
            return {"init()": module.init(project="surface-check")}, ""
    except BaseException as error:
        return {}, f"{name}.init(project=…) opened no run: {type(error).__name__}: {str(error).splitlines()[:1]}"


def _close(module: Any) -> None:
    with contextlib.suppress(BaseException), _quiet():
        module.finish()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _lookups(names: list[str]) -> dict[str, list[str]]:
    """Return name -> by which ways a library finds it: `find_spec`, `metadata`."""
    import importlib.metadata
    import importlib.util

    found: dict[str, list[str]] = {}
    for name in names:
        ways = found.setdefault(name, [])
        with contextlib.suppress(ImportError, ValueError):
            if importlib.util.find_spec(name) is not None:
                ways.append("find_spec")
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.metadata(name)
            ways.append("metadata")
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
