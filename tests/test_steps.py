"""conformance.steps and conformance.diffusion: the loops that are users' own, and what they are given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from conformance import diffusion, steps, tiny
from conformance.recipes.rows import RECIPES


def test_every_recipe_names_a_way_to_train() -> None:
    assert {r.drive for rows in RECIPES.values() for r in rows} <= set(vars(steps))


@pytest.fixture
def calls() -> list[tuple[str, Any]]:
    return []


class Accelerator:
    def __init__(self, calls: list[tuple[str, Any]]) -> None:
        self._calls = calls

    def end_training(self) -> None:
        self._calls.append(("end", None))


def test_ppo_steps_and_logs_each_batch_and_closes(calls: list[tuple[str, Any]]) -> None:
    words = tiny.tokenizer()

    def step(queries: list[Any], answers: list[Any], worth: list[Any]) -> dict[str, float]:
        calls.append(("step", [len(queries), len(answers), len(worth)]))
        return {"ppo/loss": float(len(calls))}

    trainer = SimpleNamespace(
        tokenizer=words,
        generate=lambda queries, **_: [query[:2] for query in queries],
        step=step,
        log_stats=lambda stats, batch, worth: calls.append(("log", (stats, sorted(batch), [float(w) for w in worth]))),
        accelerator=Accelerator(calls),
    )
    steps.ppo(trainer)
    assert [name for name, _ in calls] == ["step", "log"] * steps.CALLS + ["end"]
    assert calls[0][1] == [steps.BATCH] * 3
    stats, columns, worth = calls[1][1]
    assert (stats, columns) == ({"ppo/loss": 1.0}, ["query", "response"])
    assert all(0 <= value < 1 for value in worth)


def test_iterative_sft_gives_a_label_for_every_token(calls: list[tuple[str, Any]]) -> None:
    trainer = SimpleNamespace(processing_class=tiny.tokenizer(), step=lambda **batch: calls.append(("step", batch)))
    steps.iterative(trainer)
    assert len(calls) == steps.CALLS
    for _, batch in calls:
        assert [len(row) for row in batch["labels"]] == [len(row) for row in batch["input_ids"]]
        assert len(batch["attention_mask"]) == steps.BATCH


def test_diffusion_closes_its_trackers(calls: list[tuple[str, Any]]) -> None:
    trainer = SimpleNamespace(train=lambda: calls.append(("train", None)), accelerator=Accelerator(calls))
    steps.diffusion(trainer)
    assert [name for name, _ in calls] == ["train", "end"]


def test_prompts_go_round() -> None:
    following = diffusion.prompts()
    asked = [following()[0] for _ in range(len(tiny.DIALOGUES) + 1)]
    assert asked[0] == asked[-1]
    assert len(set(asked)) == len(tiny.DIALOGUES)
    assert following()[1] == {}


def test_the_reward_of_an_image_is_its_brightness() -> None:
    import torch

    images = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)]).requires_grad_()
    worth, metadata = diffusion.brightness(images, ("a", "b"), ({}, {}))
    assert worth.tolist() == [0.0, 1.0]
    assert worth.requires_grad
    assert metadata == {}
