"""Local stand-ins for what a trainer needs beside itself: a vLLM server, and what only a GPU has.

`stand` puts them up for the time of a training. TRL's own code runs unchanged around them: its clients, its rollout
worker and its packing; each module here says what it replaces.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from conformance.stubs import gpu, vllm

_ABSENT = object()
#: Modules beside the trainer's own package that talk to vLLM.
CLIENTS = ("trl.generation.vllm_client", "trl.extras.vllm_client")


@contextlib.contextmanager
def stand(serves: Mapping[str, str], trainer: type, load: Callable[[str], Any]) -> Iterator[dict[str, Any]]:
    """Serve a model for each setting in `serves` (setting -> model); yield the settings with the servers' addresses.

    While the context lasts, the modules of the trainer's package find what stands in for vLLM and the GPU. A server
    whose setting is a table of servers (`…_urls`) is its "default".
    """
    with contextlib.ExitStack() as up:
        servers = {setting: up.enter_context(vllm.serve(load(name), name)) for setting, name in serves.items()}
        student = next(iter(servers.values()))
        up.enter_context(_replaced(_modules(trainer), gpu.replacements(student)))
        yield {
            setting: {"default": server.url} if setting.endswith("_urls") else server.url
            for setting, server in servers.items()
        }


def _modules(trainer: type) -> list[ModuleType]:
    """Return what is loaded of the trainer's package, and TRL's vLLM clients."""
    package = trainer.__module__.rpartition(".")[0]
    for client in CLIENTS:
        with contextlib.suppress(ImportError):
            __import__(client)
    return [m for name, m in list(sys.modules.items()) if name.startswith(f"{package}.") or name in CLIENTS]


@contextlib.contextmanager
def _replaced(modules: list[ModuleType], replacements: gpu.Replacements) -> Iterator[None]:
    """Give the modules other values for their names until the context ends.

    A name is replaced where a module has it; vLLM's names also where they are missing because vLLM is.
    """
    undo: list[tuple[ModuleType, str, Any]] = []
    try:
        for module in modules:
            names = dict(replacements.vllm) if hasattr(module, "is_vllm_available") else {}
            names |= {name: value for name, value in replacements.others.items() if hasattr(module, name)}
            for name, value in names.items():
                undo.append((module, name, vars(module).get(name, _ABSENT)))
                setattr(module, name, value)
        yield
    finally:
        for module, name, value in reversed(undo):
            if value is _ABSENT:
                delattr(module, name)
            else:
                setattr(module, name, value)
