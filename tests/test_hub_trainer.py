"""A TRL trainer pushes what it trained to the Hub in memory: within its process, and from another over loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.hub import Hub

PUSH = """
import sys
from contextlib import nullcontext
from pathlib import Path
from conformance.hub import memory_hub

def push(folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from conformance import recipes, tiny
    tiny.models(folder / "models")
    sft = next(trainer for trainer in recipes.every() if trainer.id == "sft")
    settings = {"report_to": "none", "push_to_hub": True, "hub_model_id": "user/tiny", "hub_private_repo": True}
    trainer = recipes.build(sft, folder / "output", folder / "models", [], settings)
    trainer.train()
    trainer.push_to_hub(commit_message="The end")
    pushed = AutoModelForCausalLM.from_pretrained("user/tiny")
    trained = trainer.model.state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in pushed.state_dict().items())
    assert len(AutoTokenizer.from_pretrained("user/tiny")) == len(trainer.processing_class)

with memory_hub() if sys.argv[1] == "memory" else nullcontext() as hub:
    push(Path(sys.argv[2]))
    if hub:
        print()
        import json
        print(json.dumps([sorted(hub.files("user/tiny")), hub.commits("user/tiny")[0].title, hub.unknown]))
"""


@pytest.mark.parametrize("door", ["memory", "loopback"])
def test_a_trainer_pushes_its_model(hub: Hub, door: str, tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    pushed = subprocess.run(
        [sys.executable, "-c", PUSH, door, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "HF_HOME": str(tmp_path / "home")},
    )
    assert pushed.returncode == 0, pushed.stderr[-3000:]
    if door == "memory":
        files, title, unknown = json.loads(pushed.stdout.splitlines()[-1])
        assert not hub.requests
    else:
        files, title, unknown = sorted(hub.files("user/tiny")), hub.commits("user/tiny")[0].title, hub.unknown
        assert hub.repo("user/tiny").private
        assert b"trl" in hub.files("user/tiny")["README.md"]
    assert set(files) >= {"README.md", "config.json", "model.safetensors", "tokenizer.json", "training_args.bin"}
    assert title != "initial commit"  # "The end" is no commit of its own where nothing had changed since the last step
    assert unknown == []
