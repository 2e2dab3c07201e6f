import json
from pathlib import Path

from conformance.registry import load

HonestHub = load(f"{Path(__file__).with_name('honest.py')}:HonestHub")


class KeepsOneFileForAllRuns(HonestHub):
    """Appends to one file what is not there yet, once, whoever else does so meanwhile."""

    def send(self, api, where, private=True):
        note = self.file.with_suffix(".pushed")
        if note.exists():
            return
        api.create_repo(**where, private=private, exist_ok=True)
        there = b""
        if api.file_exists(filename="all.jsonl", **where):
            there = Path(api.hf_hub_download(filename="all.jsonl", **where)).read_bytes()
        mine = b"".join(json.dumps([self.file.name, line]).encode() + b"\n" for line in self.lines())
        if mine not in there:
            api.upload_file(path_or_fileobj=there + mine, path_in_repo="all.jsonl", **where)
        note.touch()

    def lines(self):
        return self.content().decode().splitlines()

    def pushed(self, files, run):
        for data in (data for path, data in files.items() if path.endswith("/all.jsonl")):
            its = [line for name, line in map(json.loads, data.splitlines()) if name == f"{run}.jsonl"]
            yield from super().pushed({f"{run}.jsonl": "\n".join(its).encode()}, run)
