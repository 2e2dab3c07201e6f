"""Trainings that are not `trainer.train()`: the loop that TRL's documentation tells users to write for some trainers.

A recipe names its way to train (`Recipe.drive`); each of these takes the built trainer and trains it to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance import rewards, tiny

#: Rows of one `.step()`, and calls of it.
BATCH = 2
CALLS = 3


def train(trainer: Any) -> None:
    """Train as nearly every trainer is trained."""
    trainer.train()


def _batches() -> Iterator[list[tuple[str, str]]]:
    """Yield the questions and answers of each `.step()`."""
    pairs = [(question, answer) for question, answer, _ in tiny.DIALOGUES]
    for start in range(0, BATCH * CALLS, BATCH):
        yield pairs[start : start + BATCH]


def ppo(trainer: Any) -> None:
    """PPO of TRL up to 0.11: generate, reward, `step`, `log_stats` (its docs/source/ppo_trainer.mdx)."""
    import torch

    words = trainer.tokenizer
    for batch in _batches():
        asked = [question for question, _ in batch]
        queries = [torch.tensor(words(question)["input_ids"]) for question in asked]
        answers = trainer.generate(
            queries, return_prompt=False, max_new_tokens=8, do_sample=True, top_k=0, pad_token_id=words.pad_token_id
        )
        answered = words.batch_decode(answers)
        worth = [torch.tensor(value) for value in rewards.length(answered)]
        stats = trainer.step(queries, answers, worth)
        trainer.log_stats(stats, {"query": asked, "response": answered}, worth)
    end(trainer)


def iterative(trainer: Any) -> None:
    """Iterative SFT (0.8 to 0.23): one `step` for every batch of texts (its docs/source/iterative_sft_trainer.mdx)."""
    import torch

    words = getattr(trainer, "processing_class", None) or trainer.tokenizer
    for batch in _batches():
        ids = [torch.tensor(words(f"{question} {answer}")["input_ids"]) for question, answer in batch]
        masks = [torch.ones_like(row) for row in ids]
        trainer.step(input_ids=ids, attention_mask=masks, labels=[row.clone() for row in ids])


def diffusion(trainer: Any) -> None:
    """DDPO and AlignProp (up to 0.23): `train()` leaves its trackers open."""
    trainer.train()
    end(trainer)


def end(trainer: Any) -> None:
    """Close what the trainer's Accelerator opened: accelerate asks its users to, and TRL never does it for them."""
    trainer.accelerator.end_training()
