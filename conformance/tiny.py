"""Tiny models, a tokenizer and one dataset per TRL format, built offline.

Nothing is downloaded: the tokenizer is trained on the sentences below, the models have random weights from a fixed
seed and a few thousand parameters. `models(folder)` writes them once per store so that trainers which take a path
find one; every trainer since TRL 0.7 accepts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
DIALOGUES = [
    ("What is two plus two?", "It is four.", "No idea."),
    ("Name a colour.", "Blue is a colour.", "I will not say."),
    ("Say hello.", "Hello there!", "Go away."),
    ("Is the sky blue?", "Yes, it is.", "Maybe."),
    ("Count to three.", "One, two, three.", "Nope."),
    ("What is a cat?", "A small animal.", "A rock."),
    ("Name a fruit.", "An apple.", "A shoe."),
    ("Say goodbye.", "Goodbye!", "Hi."),
]


def chat_template(name: str = "chatml") -> str:
    """Return a template kept in `fixtures/templates`: ChatML, or `chatml_images` for messages in parts."""
    from conformance import fixtures

    return (fixtures() / "templates" / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")


def tokenizer(more: Sequence[str] = ()) -> Any:
    """Return a byte-level BPE tokenizer (about 320 tokens) with ChatML special tokens, `more`, and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[*SPECIAL_TOKENS, *more],
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    bpe.train_from_iterator([" ".join(dialogue) for dialogue in DIALOGUES], trainer)
    result = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|endoftext|>",  # DPO, KTO, CPO and ORPO of TRL < 0.11 fail when there is none
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        model_max_length=512,
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],  # GRPO of TRL 0.14 rejects token_type_ids
        clean_up_tokenization_spaces=False,
    )
    result.chat_template = chat_template()
    return result


def _family() -> str:
    """Return the family of the tiny models: Qwen2, or Llama before transformers 4.37 had that."""
    import transformers

    return "Qwen2" if hasattr(transformers, "Qwen2Config") else "Llama"


def config(tokens: Any) -> Any:
    """Return the configuration of a language model of about 15,000 parameters."""
    import transformers

    return getattr(transformers, f"{_family()}Config")(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )


def build(head: str, tokens: Any, seed: int, labels: int = 1) -> Any:
    """Return a random model of about 15,000 parameters.

    `head` is the transformers suffix (`CausalLM`, `SequenceClassification`, `TokenClassification`), `labels` the
    number of outputs of a classification head.
    """
    import torch
    import transformers

    told = config(tokens)
    if head != "CausalLM":
        told.num_labels = labels
    torch.manual_seed(seed)
    model = getattr(transformers, f"{_family()}For{head}")(told)
    if head == "CausalLM":
        model.generation_config.eos_token_id = tokens.eos_token_id
        model.generation_config.pad_token_id = tokens.pad_token_id
    return model


#: What a recipe may ask for: name -> (head, seed, labels).
MODELS = {
    "causal": ("CausalLM", 0, 1),
    "teacher": ("CausalLM", 7, 1),
    "reward": ("SequenceClassification", 1, 1),
    "steps": ("TokenClassification", 2, 2),
}


def _exists(head: str) -> bool:
    import transformers

    return hasattr(transformers, f"{_family()}For{head}")


def with_value_head(path: str) -> Any:
    """Return the causal model in `path` with the value head that PPO of TRL up to 0.11 wants."""
    from trl import AutoModelForCausalLMWithValueHead

    return AutoModelForCausalLMWithValueHead.from_pretrained(path)


def models(folder: Path) -> dict[str, str]:
    """Write every tiny model with its tokenizer under `folder` once; return name -> directory."""
    paths = {name: str(folder / name) for name in MODELS}
    if not (folder / "complete").exists():
        tokens = tokenizer()
        for name, (head, seed, labels) in MODELS.items():
            if not _exists(head):
                continue  # a release that has no such model has no trainer of it
            build(head, tokens, seed, labels).save_pretrained(paths[name])
            tokens.save_pretrained(paths[name])
        (folder / "complete").touch()
    return paths


def load(paths: dict[str, str], name: str) -> Any:
    """Return a fresh instance of the model `name` (a key of `MODELS`) that `models` wrote."""
    import transformers

    head, _, labels = MODELS[name]
    extra = {} if head == "CausalLM" else {"num_labels": labels}
    return getattr(transformers, f"AutoModelFor{head}").from_pretrained(paths[name], **extra)


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def dataset(form: str, tokens: Any = None) -> Any:
    """Return 16 rows in one of TRL's dataset formats (`FORMATS`), as `datasets.Dataset`.

    Raises KeyError for an unknown format.
    """
    from datasets import Dataset

    rows = DIALOGUES * 2
    columns = FORMATS[form](rows, tokens)
    return Dataset.from_dict(columns)


def _tokenised_pairs(rows: list[tuple[str, str, str]], tokens: Any) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for question, good, bad in rows:
        for side, answer in (("chosen", good), ("rejected", bad)):
            encoded = tokens(f"{question} {answer}")
            columns.setdefault(f"input_ids_{side}", []).append(encoded["input_ids"])
            columns.setdefault(f"attention_mask_{side}", []).append(encoded["attention_mask"])
    return columns


def _images(rows: list[tuple[str, str, str]]) -> list[Any]:
    from conformance import vision

    return vision.images(len(rows))


FORMATS: dict[str, Any] = {
    "text": lambda rows, _: {"text": [f"{q} {a}" for q, a, _ in rows]},
    "messages": lambda rows, _: {"messages": [_user(q) + _assistant(a) for q, a, _ in rows]},
    "prompt": lambda rows, _: {"prompt": [q for q, _, _ in rows]},
    "chat_prompt": lambda rows, _: {"prompt": [_user(q) for q, _, _ in rows]},
    "prompt_completion": lambda rows, _: {
        "prompt": [q for q, _, _ in rows],
        "completion": [f" {a}" for _, a, _ in rows],
    },
    "preference": lambda rows, _: {
        "prompt": [q for q, _, _ in rows],
        "chosen": [f" {a}" for _, a, _ in rows],
        "rejected": [f" {b}" for _, _, b in rows],
    },
    "unpaired": lambda rows, _: {
        "prompt": [q for q, _, _ in rows],
        "completion": [f" {(b, a)[i % 2]}" for i, (_, a, b) in enumerate(rows)],
        "label": [bool(i % 2) for i in range(len(rows))],
    },
    "chat_preference": lambda rows, _: {
        "prompt": [_user(q) for q, _, _ in rows],
        "chosen": [_assistant(a) for _, a, _ in rows],
        "rejected": [_assistant(b) for _, _, b in rows],
    },
    "chat_unpaired": lambda rows, _: {
        "prompt": [_user(q) for q, _, _ in rows],
        "completion": [_assistant((b, a)[i % 2]) for i, (_, a, b) in enumerate(rows)],
        "label": [bool(i % 2) for i in range(len(rows))],
    },
    "image_messages": lambda rows, _: {
        "messages": [_user(q) + _assistant(a) for q, a, _ in rows],
        "images": [[image] for image in _images(rows)],
    },
    "image_prompt": lambda rows, _: {"prompt": [_user(q) for q, _, _ in rows], "image": _images(rows)},
    "image_preference": lambda rows, _: {
        "prompt": [_user(q) for q, _, _ in rows],
        "chosen": [_assistant(a) for _, a, _ in rows],
        "rejected": [_assistant(b) for _, _, b in rows],
        "images": [[image] for image in _images(rows)],
    },
    "triple": lambda rows, _: {
        "prompt": [q for q, _, _ in rows],
        "chosen": [f" {a}" for _, a, _ in rows],
        "rejected": [f" {b}" for _, _, b in rows],
        "reference": [f" {a} Indeed." for _, a, _ in rows],
    },
    "privileged": lambda rows, _: {
        "prompt": [q for q, _, _ in rows],
        "privileged_context": [a for _, a, _ in rows],
    },
    "stepwise": lambda rows, _: {
        "prompt": [q for q, _, _ in rows],
        "completions": [[a, f"{a} Indeed."] for _, a, _ in rows],
        "labels": [[True, False] for _ in rows],
    },
    "prompt_ids": lambda rows, tokens: {"input_ids": [tokens(q)["input_ids"] for q, _, _ in rows]},
    "preference_ids": _tokenised_pairs,
}
