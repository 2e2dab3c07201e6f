"""The monitor's callback under SFT, DPO and GRPO of TRL, in the release that is installed. Without
transformers this file is not collected (conftest.py).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import datasets
import pytest
import tokenizers
import torch
import transformers
import trl
from test_callback import arguments, history, same, split, stored
from test_callback import clean as clean

from trackio.monitor import SmolLM3Monitor

WORDS = ["what", "is", "two", "plus", "four", "a", "colour", "blue", "cat", "rock", "yes", "no"]
PAIRS = [{"prompt": "what is two", "chosen": " four", "rejected": " a rock"}] * 8


def tokenizer() -> Any:
    names = ["<pad>", "<eos>", "<unk>"]
    vocabulary = {word: number for number, word in enumerate([*names, *WORDS])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    pad, eos, unknown = names
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=pad,
        eos_token=eos,
        bos_token=eos,
        unk_token=unknown,
        model_input_names=["input_ids", "attention_mask"],
    )


def language_model() -> Any:
    torch.manual_seed(0)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.LlamaConfig(
        vocab_size=15, max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=1, **size
    )
    return transformers.LlamaForCausalLM(config)


def sft(args: Any, hook: Any) -> Any:
    data = datasets.Dataset.from_list([{"text": "what is two plus two"}] * 8)
    return trl.SFTTrainer(
        language_model(),
        args(trl.SFTConfig, dataset_text_field="text"),
        train_dataset=data,
        eval_dataset=data,
        processing_class=tokenizer(),
        callbacks=[hook],
    )


def dpo(args: Any, hook: Any) -> Any:
    data = datasets.Dataset.from_list(PAIRS)
    return trl.DPOTrainer(
        language_model(),
        language_model(),
        args=args(trl.DPOConfig),
        train_dataset=data,
        eval_dataset=data,
        processing_class=tokenizer(),
        callbacks=[hook],
    )


def grpo(args: Any, hook: Any) -> Any:
    def nobody(completions: list[str], **_: Any) -> list[Any]:
        return [None] * len(completions)

    def length(completions: list[str], **_: Any) -> list[float]:
        return [float(len(text)) for text in completions]

    data = datasets.Dataset.from_list(PAIRS).select_columns("prompt")
    return trl.GRPOTrainer(
        language_model(),
        reward_funcs=[length, nobody],
        args=args(trl.GRPOConfig, num_generations=2, max_completion_length=4),
        train_dataset=data,
        eval_dataset=data.select([0]),
        processing_class=tokenizer(),
        callbacks=[hook],
    )


@pytest.mark.parametrize("build", [sft, dpo, grpo])
def test_trl_s_trainers(build: Any, tmp_path: Path) -> None:
    def args(kind: Any, **more: Any) -> Any:
        return arguments(tmp_path, kind, max_steps=2, bf16=False, **more)

    with SmolLM3Monitor("e") as monitor:
        monitor.log_configuration({"stage": build.__name__})
        subject = build(args, monitor.create_monitoring_callback())
        subject.train()
        counted = subject.state.num_input_tokens_seen
        # GRPO of some releases cannot evaluate a data set that is smaller than a batch.
        if build is not grpo:
            subject.evaluate()
        monitor.log_training_summary({"total_steps": subject.state.global_step})
    logged, measured = split()
    expected = history(subject.state)
    assert same(logged[: len(expected)], expected) and logged[len(expected) :] == [
        (2, "summary/total_steps", 2)
    ]
    assert [step for step, _ in measured["step_time"]] == [1, 2]
    # transformers passes these on; TRL 0.24's DPO has no count of tokens.
    named = [(step, value) for step, key, value in logged if key == "num_tokens"]
    rates = measured.get("tokens_per_second", [])
    assert [step for step, _ in rates] == [step for step, _ in named][:2]
    assert rates or build is dpo
    if named:
        (_, before), (_, after), *_ = named
        (_, speed), (_, steps) = rates[1], measured["steps_per_second"][1]
        assert math.isclose(speed, (after - before) * steps)
    assert measured.get("num_input_tokens_seen", [(2, 0)])[-1] == (2, counted)
    run = stored()
    assert run.config["stage"] == build.__name__ and run.config["model_type"] == "llama"
    assert run.status == "finished"
    if build is grpo:
        empty = [value for _, key, value in logged if key == "rewards/nobody/mean"]
        assert empty and all(value is None or math.isnan(value) for value in empty)
