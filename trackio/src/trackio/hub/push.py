"""One push: what is pending of some runs goes to a dataset, in one commit.

Which records are there is read from the names of the shards, and every commit names the commit it was
planned on. So a push that was cut off at any point, repeated, or made by two processes at once neither loses
a record nor brings one twice: what was planned on an old head is refused, and planned again.

A writer's first push, its last, and every sixth between make tables. That is Parquet, which takes a request
for a link, two for each file, and the commit. The others put a text into the commit, one request in all; the
next push that makes tables makes them of its records too, and removes it (`texts.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import chain, groupby
from typing import Any

from ..api import StoredRun
from ..content import is_digest
from ..journal import journals
from ..paths import read_info
from ..verify import _references
from . import card
from .redact import Redactor
from .remote import Backoff, HubError, Listing, Refused, Remote
from .shards import PENDING, TABLES, Batch, Shard, arrow, parquet, run_key, shard_of
from .spool import Ledger, Mark, Part, alone, part, writer_of
from .texts import Record, pack

#: Bytes of journals in one commit, about.
BATCH = 16 << 20

#: Of so many pushes of a writer one makes tables, half an hour at the default pace; or of so many bytes.
EVERY, SMALL = 6, 512 << 10

#: A writer's shards of a table become one at the end of its run when they are so many, and its journal is no
#: longer than so many bytes. All of it is sent once more for that.
MANY, COMPACT = 20, 64 << 20

#: Contents of artifacts in one commit, in bytes and in files; larger files go only when asked for.
CONTENTS, FILES, LARGE = 64 << 20, 100, 8 << 20


class Pusher:
    """Sends the runs in `folders` to one dataset.

    `patience`: seconds to wait for another process that pushes the same run; after that it is left to it.
    `create`: make a repository that is gone although something was sent to it before. `large`: send contents
    of artifacts of any size. `tell` is given what was left out, in a line. `pause` is called every few
    milliseconds of work, so that a thread that trains can have its turn.
    """

    def __init__(
        self,
        remote: Remote,
        folders: Iterable[str],
        *,
        patience: float = 0.0,
        create: bool = False,
        large: bool = False,
        tell: Callable[[str], None] = lambda text: None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self.remote, self.folders = remote, list(folders)
        self.patience, self.create, self.large = patience, create, large
        self.tell, self.pause = tell, pause
        self._named = remote.repo
        self._listing: Listing | None = None
        #: Records that were sent, and commits that were made, by this object.
        self.records = self.commits = 0
        #: Runs that another process was pushing.
        self.busy: list[str] = []

    def once(self, final: bool = False) -> bool:
        """Send what is pending, in one commit; tell whether more is left.

        `final`: the view is written, many shards become one, and contents of artifacts are sent. Raises
        HubError; OSError. Whatever is raised, nothing is lost, and the next call goes on.
        """
        with ExitStack() as stack:
            free = [each for each in self.folders if stack.enter_context(alone(each, self.patience))]
            self.busy = [each for each in self.folders if each not in free]
            ledgers = {folder: Ledger(folder) for folder in free}
            base = self._listing or self.remote.look(self.create or not self._was_there(ledgers.values()))
            # Not known any more, until the commit has returned.
            self._listing = None
            plan = _Plan(self, base, final)
            for folder, ledger in ledgers.items():
                plan.run(folder, ledger)
            if final and not plan.more:
                for folder in ledgers:
                    plan.contents(folder)
            if plan.add or plan.delete:
                plan.furnish()
                base = self.remote.commit(base, plan.add, plan.delete, plan.message())
                self.commits += 1
                self.records += plan.records
            self._listing = base
            for ledger in plan.moved:
                if self._named != self.remote.repo:
                    ledger.repos.pop(self._named, None)
                ledger.save()
            return plan.more

    def _was_there(self, ledgers: Iterable[Ledger]) -> bool:
        names = {self._named, self.remote.repo}
        return any(ledger.repos.get(name, {}).get("writers") for ledger in ledgers for name in names)

    def all(self, backoff: Backoff, wait: Callable[[float], bool], end: float) -> None:
        """Send everything, final; repeat what fails until `end` on the monotonic clock.

        `wait(seconds)` waits, and returns True to give up. Raises HubError, the latest one.
        """
        while True:
            try:
                more = self.once(final=True)
            except Refused:
                raise
            except HubError as error:
                delay = backoff.after(error)
                if time.monotonic() + delay > end or wait(delay):
                    raise
            else:
                backoff.succeeded()
                if not more:
                    return


class _Plan:
    """The next commit: files to `add`, paths to `delete`, and ledgers that move when it has returned."""

    def __init__(self, pusher: Pusher, base: Listing, final: bool) -> None:
        self.pusher, self.base, self.final = pusher, base, final
        self.hide = Redactor(pusher.remote.secret)
        self.add: dict[str, bytes | str] = {}
        self.delete: set[str] = set()
        self.moved: list[Ledger] = []
        self.records = self.runs = 0
        self.more = False
        self._left = BATCH

    def run(self, folder: str, ledger: Ledger) -> None:
        """Take what is pending of a run. Raises OSError."""
        info = read_info(folder)
        if info is None:
            return
        run = run_key(info, self.hide)
        there: dict[str, list[Shard]] = {}
        for path in self.base.paths:
            if f"/{run}/" in path and (shard := shard_of(path)) is not None:
                there.setdefault(shard.writer, []).append(shard)
        before = len(self.add)
        for path in journals(folder):
            if self._left <= 0:
                self.more = True
                break
            writer = writer_of(path)
            make = _Writer(self, folder, run, info, path, there.get(writer, []))
            mark = ledger.mark(self.pusher.remote.repo, writer)
            moved = make.whole() if self.final else None
            moved = moved or make.rest(mark)
            if moved != mark:
                ledger.entry(self.pusher.remote.repo)["writers"][writer] = list(moved)
                if ledger not in self.moved:
                    self.moved.append(ledger)
        view = f"{card.VIEW}/{run}/run.parquet"
        if len(self.add) > before:
            self.runs += 1
            if self.final or view not in self.base.paths:
                stored = StoredRun(folder, info, strict=False)
                self.add[view] = parquet([arrow(card.VIEW, [card.experiment(stored, run, self.hide)])])

    def take(self, folder: str, shards: Iterable[tuple[Shard, bytes]], records: list[Record]) -> None:
        """Add shards, and what their records keep as files."""
        for shard, data in shards:
            self.add[shard.path] = data
        for record in records:
            for digest in _references(record[4]):
                self.file(folder, str(digest))

    def file(self, folder: str, digest: str) -> int:
        """Add the file of a digest, unless it is there; return its size, 0 if it is not added."""
        path, source = f"files/{digest}", os.path.join(folder, "files", digest)
        if not is_digest(digest) or path in self.base.paths or path in self.add:
            return 0
        try:
            if self.hide.found_in(source):
                self.pusher.tell(f"{source} holds a token and is not sent")
                return 0
            size = os.stat(source).st_size
        except OSError as error:
            self.pusher.tell(f"{source} cannot be read and is not sent: {error}")
            return 0
        self.add[path] = source
        return size

    def contents(self, folder: str) -> None:
        """Add contents of artifacts, as many as one commit takes. Raises OSError."""
        large, size, count = 0, 0, 0
        for path in journals(folder):
            with open(path, "rb") as file:
                # Only these lines matter, and before the kind there are only digits.
                lines = [line for line in file if line.startswith(b',"file",', line.find(b',"'))]
            for digest in dict.fromkeys(each for line in lines for each in _digests(line)):
                source = os.path.join(folder, "files", digest)
                with suppress(OSError):
                    if os.stat(source).st_size > LARGE and not self.pusher.large:
                        large += f"files/{digest}" not in self.base.paths
                        continue
                if size >= CONTENTS or count >= FILES:
                    self.more = True
                    return
                if added := self.file(folder, digest):
                    size, count = size + added, count + 1
        if large:
            self.pusher.tell(
                f"{large} large files of artifacts stay here; `trackio push --large` sends them too"
            )

    def furnish(self) -> None:
        """Add a card that makes our folders tables, or extend the one that is there. Raises HubError."""
        if "README.md" not in self.base.paths:
            self.add["README.md"] = card.new_card(self.pusher.remote.repo).encode()
        elif not any(map(shard_of, self.base.paths)):
            text = card.extended(self.pusher.remote.card())
            if text is not None:
                self.add["README.md"] = text.encode()

    def message(self) -> str:
        """Return the commit's title."""
        if not self.records:
            return f"trackio: {len(self.add)} files"
        return f"trackio: {self.records} records of {self.runs} run{'s' * (self.runs != 1)}"


class _Writer:
    """The journal of one writer, beside the shards of it that are there."""

    def __init__(
        self, plan: _Plan, folder: str, run: str, info: dict[str, Any], path: str, there: list[Shard]
    ) -> None:
        self.plan, self.folder, self.run, self.info, self.path = plan, folder, run, info, path
        self.there = there
        self.texts = [shard for shard in there if shard.table == PENDING]
        self.tables = [shard for shard in there if shard.table != PENDING]

    def rest(self, mark: Mark) -> Mark:
        """Add the records that are not there, and return the next mark. Raises OSError."""
        plan, size = self.plan, os.stat(self.path).st_size
        if mark.offset > size or (mark.following and not _covered(mark.following - 1, _spans(self.there))):
            mark = Mark(0, 0, 0)  # another journal, or another repository, than the mark was of
        if mark.offset == size and not (plan.final and mark.settled < size):
            return mark
        found = self._read(mark.settled)
        plan._left -= found.end - mark.settled
        plan.more |= plan._left <= 0 and found.end < size
        new = list(chain(*_stretches(found.records, self.there)))
        plan.records += len(new)
        settled = mark.settled
        if new and self._is_small(new, found.end - settled):
            text = Shard(PENDING, self.run, writer_of(self.path), new[0][0], new[-1][0])
            plan.take(self.folder, [(text, pack(new, plan.hide, plan.pusher.pause))], new)
        elif new or plan.final:
            self._settle(found)
            settled = found.end
        following = max([mark.following, *(record[0] + 1 for record in found.records)])
        return Mark(found.end, following, settled)

    def _read(self, start: int) -> Part:
        found = part(self.path, start, self.plan._left, self.plan.pusher.pause)
        # A text is settled whole or not at all.
        if found.records and any(text.first <= found.records[-1][0] < text.last for text in self.texts):
            more = part(self.path, found.end, SMALL, self.plan.pusher.pause)
            found = Part(found.records + more.records, more.end, found.damaged + more.damaged)
        return found

    def _is_small(self, new: list[Record], size: int) -> bool:
        # A text that never had a record could not be told from one whose journal has lost it since.
        gapless = new[-1][0] - new[0][0] + 1 == len(new)
        due = len(self.texts) + 1 >= EVERY or size > SMALL or not self.tables
        return gapless and not (due or self.plan.final or self.plan._left <= 0)

    def _settle(self, found: Part) -> None:
        """Add tables of the records, also of those in texts, and delete these."""
        if found.damaged:
            self.plan.pusher.tell(f"{self.path}: {found.damaged} damaged records are not sent")
        here = {record[0] for record in found.records}
        settled = [text for text in self.texts if here.issuperset(range(text.first, text.last + 1))]
        self.plan.delete |= {text.path for text in settled}
        for stretch in _stretches(found.records, [shard for shard in self.there if shard not in settled]):
            self._send(stretch)

    def _send(self, records: list[Record]) -> None:
        plan = self.plan
        batch = Batch(self.run, self.info, writer_of(self.path), plan.hide, plan.pusher.pause)
        for record in records:
            batch.add(record)
        plan.take(self.folder, batch.shards(), records)

    def whole(self) -> Mark | None:
        """Add one shard a table instead of many, and return the next mark; None if that is not due.

        It is made from the journal, and only from one that is whole: nothing that is there may be lost.
        Raises OSError.
        """
        counts = [sum(shard.table == table for shard in self.tables) for table in TABLES]
        if max(counts) < MANY or os.stat(self.path).st_size > COMPACT:
            return None
        found = part(self.path, 0, COMPACT, self.plan.pusher.pause)
        sequences = [record[0] for record in found.records]
        if found.damaged or not sequences or sequences != list(range(sequences[0], sequences[-1] + 1)):
            return None
        spans = _spans(self.there)
        if spans[0][0] < sequences[0] or spans[-1][1] > sequences[-1]:
            return None
        self._send(found.records)
        self.plan.records += sum(not _covered(sequence, spans) for sequence in sequences)
        self.plan.delete |= {shard.path for shard in self.there} - self.plan.add.keys()
        self.plan._left -= found.end
        return Mark(found.end, sequences[-1] + 1, found.end)


def _spans(shards: Iterable[Shard]) -> list[tuple[int, int]]:
    return sorted({(shard.first, shard.last) for shard in shards})


def _covered(sequence: int, spans: list[tuple[int, int]]) -> bool:
    return any(first <= sequence <= last for first, last in spans)


def _stretches(records: Iterable[Record], shards: Iterable[Shard]) -> Iterator[list[Record]]:
    """Yield records that are in no shard, in pieces with none between that is in one: a shard's name promises
    all records between its first and its last, and none may be there already.
    """
    spans = _spans(shards)
    for covered, stretch in groupby(records, lambda record: _covered(record[0], spans)):
        if not covered:
            yield list(stretch)


def _digests(line: bytes) -> list[str]:
    from ..lines import parse

    try:
        return [str(file["sha256"]) for file in parse(line)[0][4]["files"]]
    except (ValueError, LookupError, TypeError):
        return []  # reading the run reports it
