"""The dataset on the Hub, through whatever release of huggingface_hub is installed (0.24 and later).

Every answer but success becomes one of three errors, because only three things can be done about it: look
again and repeat (`Conflict`), wait and repeat (`Trouble`), or tell the user (`Refused`).
"""

from __future__ import annotations

import importlib
import logging
import os
import random
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from .redact import Redactor

#: Up to so many files, the answer about a repository names them all (huggingface_hub 2.4.0,
#: _snapshot_download.py, `VERY_LARGE_REPO_THRESHOLD`).
LISTED = 50_000

#: Seconds that a question may take. Commits have the client's own limits.
TIMEOUT = 30.0

_REQUEST = re.compile(r"\(Request ID:[^)]*\)")

#: How a file goes to the Hub, by its ending: in the commit, if it is text and below 10 MB, or before it.
MODES = {".b85": "regular", ".md": "regular", ".parquet": "lfs"}

MISSING = "this needs {name}: pip install 'trackio[hub]'"


class HubError(Exception):
    """What the Hub, or the way to it, did not do. The text is one line, without a token."""


class Refused(HubError):
    """It will not work until the user does something."""


class Conflict(HubError):
    """Somebody else committed meanwhile: look, and do it again."""


class Trouble(HubError):
    """It may work later, after `wait` seconds (0 if the Hub names none). Whether a commit was made is not
    known.
    """

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Listing(NamedTuple):
    """What is in a repository at the commit `head`."""

    head: str | None
    paths: set[str]


def token() -> str | None:
    """Return the token of the environment or of `hf auth login`, None without one. Raises Refused where
    what is needed to push is not installed.
    """
    for name in ("huggingface_hub", "pyarrow"):
        try:
            __import__(name)
        except ImportError:
            raise Refused(MISSING.format(name=name)) from None
    import huggingface_hub

    if not hasattr(huggingface_hub, "get_token"):  # before 0.21
        raise Refused(MISSING.format(name="huggingface_hub 0.24"))
    found: str | None = huggingface_hub.get_token()
    return found


class Remote:
    """A dataset repository `USER/NAME`, or `NAME` of the token's user.

    `private` is for a repository that is made: anything but False makes it private. `hf_token` is used
    instead of the one of the environment; it is kept in memory alone.
    """

    def __init__(self, repo: str, private: bool | None = None, hf_token: str | None = None) -> None:
        self.repo, self.private = repo, private
        self.hf_token = hf_token
        self._client: Any = None

    @property
    def secret(self) -> str | None:
        """The token in use. Raises Refused without the extra."""
        found = token()
        return str(self.hf_token) if self.hf_token else found

    def _api(self) -> Any:
        if self._client is None:
            if (secret := self.secret) is None:
                raise Refused("there is no token: log in with `hf auth login`, or set $HF_TOKEN")
            import huggingface_hub
            import huggingface_hub.constants

            if huggingface_hub.constants.HF_HUB_OFFLINE:
                raise Refused("huggingface_hub is offline ($HF_HUB_OFFLINE)")
            self._client = huggingface_hub.HfApi(token=secret, library_name="trackio-reference")
        return self._client

    def look(self, create: bool = True) -> Listing:
        """Return what is there. With `create`, a repository that is not there is made. Raises HubError."""
        api = self._api()
        with self._errors("looking at"):
            if "/" not in self.repo:
                self.repo = f"{api.whoami()['name']}/{self.repo}"
            try:
                info = self._info()
            except Exception as error:
                if not create or type(error).__name__ != "RepositoryNotFoundError":
                    raise
                api.create_repo(
                    self.repo, repo_type="dataset", private=self.private is not False, exist_ok=True
                )
                info = self._info()
            paths = {each.rfilename for each in info.siblings or []}
            if len(paths) >= LISTED:
                tree = api.list_repo_tree(self.repo, repo_type="dataset", revision=info.sha, recursive=True)
                paths = {each.path for each in tree}
        return Listing(info.sha, paths)

    def _info(self) -> Any:
        return self._api().repo_info(self.repo, repo_type="dataset", timeout=TIMEOUT)

    def card(self) -> Any:
        """Return the card that is there, a `huggingface_hub.DatasetCard`. Raises HubError."""
        self._api()
        from huggingface_hub import DatasetCard

        with self._errors("reading the card of"):
            return DatasetCard.load(self.repo, token=self.secret, ignore_metadata_errors=True)

    def point(self, files: Mapping[str, bytes]) -> None:
        """Make a static Space of the dataset's name, with these files. One that is there is left as it is.

        Raises HubError.
        """
        api = self._api()
        from huggingface_hub import CommitOperationAdd

        with self._errors("making a Space for"), _quietly():
            hidden = self.private is not False
            try:
                api.create_repo(self.repo, repo_type="space", space_sdk="static", private=hidden)
            except Exception as error:
                if getattr(getattr(error, "response", None), "status_code", None) != 409:
                    raise
                return
            operations = [CommitOperationAdd(path, content) for path, content in files.items()]
            api.create_commit(
                self.repo, operations, commit_message="trackio: where the runs are", repo_type="space"
            )

    def download(self, base: Listing, paths: list[str]) -> str:
        """Bring files of the commit `base` into huggingface_hub's cache; return the folder they are in.

        Raises HubError.
        """
        self._api()
        from huggingface_hub import snapshot_download

        with self._errors("downloading"), _quietly():
            # As patterns: `[`, `*` and `?` are in no path of ours.
            return str(
                snapshot_download(
                    self.repo,
                    repo_type="dataset",
                    revision=base.head,
                    allow_patterns=paths,
                    token=self.secret,
                )
            )

    def commit(
        self, base: Listing, add: Mapping[str, bytes | str], delete: set[str], message: str
    ) -> Listing:
        """Add files (bytes, or the path of a file), delete others, all at once, on top of `base` alone.

        Returns what is there then. Raises HubError; only after Conflict and Refused it is sure that nothing
        was changed.
        """
        api = self._api()
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        files = [CommitOperationAdd(path, content) for path, content in add.items()]
        for file in files:
            # The client asks the Hub for what it is not told, a request more. A release that knows none of
            # these attributes asks as ever.
            file._upload_mode = MODES.get(os.path.splitext(file.path_in_repo)[1])
            file._is_uploaded = file._upload_mode == "regular"
        told = sorted(_folded(base.paths, delete, add))
        gone = [CommitOperationDelete(path, is_folder=path.endswith("/")) for path in told]
        with self._errors("committing to"), _quietly():
            if not threading.main_thread().is_alive():
                # The interpreter is going down and starts no thread; one file at a time needs none.
                for file in files:
                    api.preupload_lfs_files(self.repo, [file], repo_type="dataset", free_memory=False)
            done = api.create_commit(
                self.repo, [*files, *gone], commit_message=message, repo_type="dataset",
                parent_commit=base.head,
            )  # fmt: skip
        return Listing(done.oid, (base.paths - delete) | set(add))

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except HubError:
            raise
        except Exception as error:
            raise self._sorted(doing, error) from None

    def _sorted(self, doing: str, error: Exception) -> HubError:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        # One line, the same for the same error. What a response or a proxy's address holds may be anything.
        words = " ".join(_REQUEST.sub("", str(error)).split())
        told = Redactor(self.hf_token)(f"{type(error).__name__}: {words}")[:300]
        text = f"{doing} the dataset {self.repo!r}: {told}"
        if type(error).__name__ in ("OfflineModeIsEnabled", "HFValidationError"):
            return Refused(text)
        if status in (409, 412):
            return Conflict(text)
        if status is not None and 400 <= status < 500 and status not in (408, 425, 429):
            return Refused(text)
        return Trouble(text, _wait(response.headers) if response is not None else 0.0)


def _folded(paths: set[str], delete: set[str], add: Iterable[str]) -> set[str]:
    """Return what to delete: files, or their folder, which is a line for all, where nothing else is in it."""
    stay = (paths - delete).union(add)
    folders = set(map(os.path.dirname, delete)) - {""}
    empty = {folder for folder in folders if not any(path.startswith(f"{folder}/") for path in stay)}
    return {f"{folder}/" if (folder := os.path.dirname(path)) in empty else path for path in delete}


def _wait(headers: Mapping[str, str]) -> float:
    """Return the seconds to wait that an answer asks for.

    `Retry-After` is seconds or a date (RFC 9110, 10.2.3); the Hub also says `RateLimit: "api";r=0;t=55`,
    where `t` is when its window ends (hub-docs, rate-limits).
    """
    if after := headers.get("Retry-After"):
        if after.strip().isdigit():
            return float(after)
        try:
            # By the server's clock, where it tells it: this machine's may be anywhere.
            now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else None
            moment = parsedate_to_datetime(after)
            if now is None:
                import datetime

                now = datetime.datetime.now(datetime.timezone.utc)
            return max(0.0, (moment - now).total_seconds())
        except (TypeError, ValueError):
            return 0.0
    match = re.search(r"r\s*=\s*0\s*;\s*t\s*=\s*(\d+)", headers.get("RateLimit") or "")
    return float(match[1]) if match else 0.0


_quiet = threading.Lock()
_pushes = 0

#: The name of the thread that pushes while a run goes on.
THREAD = "trackio-push"


def _not_ours(record: logging.LogRecord) -> bool:
    return record.threadName != THREAD or record.levelno > logging.WARNING


@contextmanager
def _quietly() -> Iterator[None]:
    """Show no bars for what happens in the background, in several threads at once maybe; nor what the client
    says of each of its own attempts.
    """
    global _pushes
    logging.getLogger("huggingface_hub.utils._http").addFilter(_not_ours)
    utils: Any = importlib.import_module("huggingface_hub.utils")
    with _quiet:
        # Who has said whether there are bars, by the environment or by a call, is left alone.
        ours = _pushes > 0 or not (
            utils.are_progress_bars_disabled() or os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS")
        )
        _pushes += ours
        if ours:
            utils.disable_progress_bars()
    try:
        yield
    finally:
        with _quiet:
            _pushes -= ours
            if ours and not _pushes:
                utils.enable_progress_bars()


class Backoff:
    """How long to wait before the next attempt: what the Hub asks for, else full jitter below a ceiling."""

    def __init__(self, ceiling: float = 300.0, draw: random.Random | None = None) -> None:
        self.ceiling = ceiling
        self._draw = draw or random.Random()
        self._failures = 0

    def succeeded(self) -> None:
        """Begin anew."""
        self._failures = 0

    def after(self, error: HubError) -> float:
        """Return the seconds to wait after an error."""
        self._failures += 1
        # A conflict is over as soon as it is seen; several at once are spread.
        base = 0.25 if isinstance(error, Conflict) else 1.0
        jitter = self._draw.uniform(0.0, min(self.ceiling, base * 2.0 ** min(self._failures, 30)))
        asked = error.wait if isinstance(error, Trouble) else 0.0
        # Not all at the very moment that the Hub named, and never before it.
        return asked + jitter if asked else jitter
