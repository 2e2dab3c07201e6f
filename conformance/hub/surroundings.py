"""Environment and constants: what makes Hugging Face's libraries of any version use this Hub and its own folder.

The only place that knows what they read when. Environment variables are read when a library is imported, so for those
that are imported already their constants change: whatever starts with the endpoint or with the old folder starts with
the Hub's. What is imported later reads the Hub's environment, and is set back at the end.

The endpoint is the loopback server's URL everywhere, so that all libraries agree on it (datasets compares URLs with it)
and other processes find it. In this process no socket is opened for it: the doors answer before.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from conformance.hub.hub import Hub

#: Packages that read the environment when they are imported.
FAMILY = ("huggingface_hub", "datasets", "transformers", "accelerate", "trl", "evaluate", "diffusers", "trackio")
#: Variables that would lead elsewhere: folders below HF_HOME, other endpoints, other protocols, other tokens.
UNSET = (
    *("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ASSETS_CACHE", "HUGGINGFACE_ASSETS_CACHE", "HF_XET_CACHE"),
    *(
        "HF_TOKEN_PATH",
        "HF_DATASETS_CACHE",
        "HF_MODULES_CACHE",
        "TRANSFORMERS_CACHE",
        "HF_DATASETS_DOWNLOADED_DATASETS_PATH",
    ),
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HUGGINGFACE_CO_STAGING"),
    *("HF_HUB_ENABLE_HF_TRANSFER", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_INFERENCE_ENDPOINT"),
)
#: Constants of any module of the family, by their name, and what they are while the Hub is active.
CONSTANTS = {
    "HF_HUB_DISABLE_TELEMETRY": True,
    "HF_HUB_OFFLINE": False,
    "HF_DATASETS_OFFLINE": False,
    "_is_offline_mode": False,
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
    "HF_HUB_ENABLE_HF_TRANSFER": False,
}


def environment(hub: Hub, home: Path, xet: bool) -> dict[str, str]:
    """Return what is set for this process and those that it starts."""
    return {
        "HF_HOME": str(home),
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": hub.token,
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _modules() -> Iterator[ModuleType]:
    """Yield the family's modules that are imported."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in FAMILY and isinstance(module, ModuleType):
            yield module


def _rewritten(value: Any, prefixes: Mapping[str, str]) -> Any:
    """Return a text or path that starts with a prefix, with another one; anything else as it is."""
    if not isinstance(value, (str, Path)):
        return value
    for old, new in prefixes.items():
        rest = str(value)[len(old) :]
        if str(value).startswith(old) and rest[:1] in ("", "/", os.sep):
            return type(value)(new + rest)
    return value


def _rewrite(prefixes: Mapping[str, str], constants: Mapping[str, Any]) -> list[tuple[ModuleType, str, Any]]:
    """Change the family's constants; return (module, name, old value) of each that changed."""
    changed = []
    for module in _modules():
        for name, value in list(vars(module).items()):
            new = constants[name] if name in constants else _rewritten(value, prefixes)
            if name.startswith("__") or (new is value or new == value):
                continue
            changed.append((module, name, value))
            setattr(module, name, new)
    return changed


def _forget() -> None:
    """Drop what huggingface_hub keeps between calls: connections, tokens, file systems with their listings."""
    for where, function in (
        ("huggingface_hub.utils._http", "reset_sessions"),
        ("huggingface_hub.utils._http", "close_session"),
    ):
        module = sys.modules.get(where)
        if module is not None and hasattr(module, function):
            getattr(module, function)()
    getattr(sys.modules.get("huggingface_hub.utils._xet"), "XET_CONNECTION_INFO_CACHE", {}).clear()
    system = getattr(sys.modules.get("huggingface_hub.hf_file_system"), "HfFileSystem", None)
    if system is not None:
        system.clear_instance_cache()


def _homes() -> list[str]:
    """Return the folders that the imported libraries use, longest first."""
    found = {str(Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser())}
    constants = sys.modules.get("huggingface_hub.constants")
    for name in ("HF_HOME", "hf_cache_home"):
        if value := getattr(constants, name, None):
            found.add(str(value))
    return sorted(found, key=len, reverse=True)


@contextlib.contextmanager
def surrounded(hub: Hub, home: Path, xet: bool = False) -> Iterator[None]:
    """Lead Hugging Face's libraries to this Hub and folder while the block runs; restore everything after it."""
    for name in ("huggingface_hub", "huggingface_hub.constants", "huggingface_hub.hf_file_system"):
        if importlib.util.find_spec("huggingface_hub"):
            importlib.import_module(name)  # before the environment changes: constants keep the endpoint they have
    constants = sys.modules.get("huggingface_hub.constants")
    endpoint = getattr(constants, "ENDPOINT", "https://huggingface.co")
    api = getattr(sys.modules.get("huggingface_hub.hf_api"), "api", None)  # whose methods are the package's functions
    hub.application.hosts.add(urlsplit(endpoint).hostname or "")  # of clients that were made before
    old = next(iter(_homes()), "")
    places = dict.fromkeys(_homes(), str(home))
    for name in UNSET:  # a folder that a variable had put elsewhere
        value = os.environ.get(name, "")
        if value.startswith(("/", "~")):
            places[str(Path(value).expanduser())] = str(home / name.lower())
    with mock.patch.dict(os.environ, environment(hub, home, xet)):
        for name in UNSET:
            os.environ.pop(name, None)
        hosts = getattr(constants, "HF_URL_HOSTS", frozenset()) | {"127.0.0.1"}
        told = {**CONSTANTS, "HF_HUB_DISABLE_XET": not xet, "HF_URL_HOSTS": hosts}
        changed = _rewrite({**places, endpoint: hub.url}, told)
        _forget()
        try:
            with mock.patch.object(api, "endpoint", hub.url) if api else contextlib.nullcontext():
                yield
        finally:
            _forget()
            for module, name, value in reversed(changed):
                setattr(module, name, value)
            # What was imported meanwhile read the Hub's environment.
            _rewrite({str(home): old, hub.url: endpoint}, {})


@contextlib.contextmanager
def loopback_only() -> Iterator[None]:
    """Let no socket of this process connect to another machine, nor ask for its address."""
    connect, connect_ex, resolve = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(host: Any) -> None:
        name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
        if not (name in ("localhost", "::1", "0.0.0.0", "::") or name.startswith("127.")):
            raise PermissionError(f"while the Hub in memory is active nothing connects to {name}")

    def checked(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        connect(self, address)

    def checked_ex(self: socket.socket, address: Any) -> int:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        return connect_ex(self, address)

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return resolve(host, *args, **kwargs)

    with (
        mock.patch.object(socket.socket, "connect", checked),
        mock.patch.object(socket.socket, "connect_ex", checked_ex),
        mock.patch.object(socket, "getaddrinfo", resolved),
    ):
        yield
