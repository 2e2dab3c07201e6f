"""What a gap leaves behind: `<id>.json` to replay it with the kit, `<id>.py` to see it alone. Reads them back, too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from conformance.clauses import all_clauses
from conformance.tape import Tape
from conformance.verdict import Gap

#: Where the plugin keeps the tape that `--replay` names.
REPLAY: pytest.StashKey[Tape] = pytest.StashKey()
CLAUSE: pytest.StashKey[str] = pytest.StashKey()

ALONE = '''"""{id}: {title}

{must}
Source of the requirement: {source}

Plays the log events of this gap through transformers' own CallbackHandler to the tracker {word!r}, each in a process of
its own, then reads back. Needs trl-conformance, transformers and the tracker: python {name}
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from conformance import registry

TAPE = json.loads({events!r})
STORE = Path(tempfile.mkdtemp())
PLAY = """
import json, sys
from pathlib import Path
from conformance import jobs
store = Path(sys.argv[1])
print(jobs.replay({word!r}, json.load(sys.stdin), store, "alone", store / "models", store)["error"] or "played")
"""
READ = """
import sys
from pathlib import Path
from conformance import jobs
kept = jobs.read({word!r}, Path(sys.argv[1]), "alone")
for part, found in ((part, kept[part]) for part in ("points", "tables", "status") if part in kept):
    print("stored", part, found.get("error") or "")
    value = found.get("value") or []
    for item in [value] if isinstance(value, str) else value:
        print("   ", item)
"""
for event in TAPE["events"]:
    if event["event"] == "on_log":
        print("trained", event["step"], event["logs"])
env = {{**os.environ, **registry.load({word!r})().env(STORE)}}
for program, text in ((PLAY, json.dumps(TAPE)), (READ, "")):
    subprocess.run([sys.executable, "-c", program, str(STORE)], input=text, text=True, env=env, check=False)
'''


def write(gap: Gap, word: str, folder: str) -> Gap:
    """Write the gap's two files into `folder`, if it can be replayed; return it with `again` and `alone` filled in."""
    if gap.replay is None:
        level_word = f"--trainer {gap.subject} " if gap.clause.startswith("TRN") else ""
        return dataclasses.replace(
            gap, again=f"pytest --pyargs conformance --tracker {word} {level_word}--clause {gap.clause}"
        )
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    data = {"clause": gap.clause, "subject": gap.subject, "tape": gap.replay, "gap": gap.to_json()}
    (place / f"{gap.id}.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    alone = ALONE.format(
        id=gap.id,
        title=gap.title,
        must=gap.must,
        source=gap.source,
        word=word,
        name=f"{gap.id}.py",
        events=json.dumps(gap.replay),
    )
    (place / f"{gap.id}.py").write_text(alone, encoding="utf-8")
    again = f"pytest --pyargs conformance --tracker {word} --replay {folder}/{gap.id}.json"
    return dataclasses.replace(gap, again=again, alone=f"{folder}/{gap.id}.py")


def read(path: Path) -> tuple[str, Tape]:
    """Return the clause and the tape of a gap file. Raises ValueError that says what is wrong with the file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return all_clauses()[data["clause"]].id, Tape.from_json(data["tape"])
    except OSError as error:
        raise ValueError(f"there is no file {path}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no gap of this kit (results/<clause>-<hash>.json): {error!r}") from error
