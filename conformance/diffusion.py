"""A tiny Stable Diffusion pipeline, built offline: what TRL's diffusion trainers (DDPO, AlignProp, up to 0.23) train.

Random weights from a fixed seed, images of 16 x 16 pixels, a byte-level CLIP vocabulary without merges. Needs the
package diffusers, as TRL's two trainers do.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conformance import tiny

#: Tokens of a prompt; what is longer is cut.
PROMPT_LENGTH = 16


def _tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({word: i for i, word in enumerate(words)}), encoding="utf-8")
    merges.write_text("#version: 0.2\n", encoding="utf-8")
    return CLIPTokenizer(str(vocabulary), str(merges), model_max_length=PROMPT_LENGTH)


def _saved(folder: Path) -> str:
    """Write the pipeline under `folder` once; return its directory."""
    path = folder / "diffusion"
    if (path / "complete").exists():
        return str(path)
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokens = _tokenizer(folder / "diffusion-words")
    torch.manual_seed(0)
    StableDiffusionPipeline(
        tokenizer=tokens,
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokens),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=PROMPT_LENGTH,
                bos_token_id=tokens.bos_token_id,
                eos_token_id=tokens.eos_token_id,
                pad_token_id=tokens.pad_token_id,
            )
        ),
        unet=UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
        ),
        vae=AutoencoderKL(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
            up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
            block_out_channels=(8, 8),
            norm_num_groups=4,
            latent_channels=4,
            sample_size=16,
        ),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(str(path))
    (path / "complete").touch()
    return str(path)


def pipeline(folder: Path) -> Any:
    """Return TRL's own pipeline around the tiny one, which is kept under `folder`. Raises ImportError.

    The whole U-Net is trained, without LoRA: no further package is needed. Without a revision of its own, TRL would
    ask the Hub for "main".
    """
    from trl import DefaultDDPOStableDiffusionPipeline

    return DefaultDDPOStableDiffusionPipeline(_saved(folder), pretrained_model_revision=None, use_lora=False)


def prompts() -> Callable[[], tuple[str, dict[str, Any]]]:
    """Return what both trainers ask for prompts: each call gives the next one, with no metadata."""
    following = itertools.cycle(question for question, _, _ in tiny.DIALOGUES)
    return lambda: (next(following), {})


def brightness(images: Any, prompts: Any, metadata: Any) -> tuple[Any, dict[str, Any]]:
    """Reward each image by its mean pixel: differentiable, as AlignProp needs it. With no metadata."""
    return images.float().mean((1, 2, 3)), {}


def look(images: Any, step: int, tracker: Any) -> None:
    """Be the hook that gets the images of an epoch and accelerate's tracker.

    It logs none. Without a hook TRL 0.22 and 0.23 fail: they warn by accelerate's logger before there is an Accelerator
    (0.22.2, trainer/ddpo_trainer.py:71).
    """
