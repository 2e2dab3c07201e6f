"""A tiny vision-language model and its processor, built offline: LLaVA with CLIP and Qwen2 inside, random weights.

LLaVA, because its processor needs nothing but Pillow (no torchvision, no video), and no release of transformers since
4.53 asks more of its inputs. Images are 28 x 28 pixels, four tokens each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conformance import tiny

PIXELS = 28
PATCH = 14
IMAGE = "<image>"
#: Its token, the first one after `tiny.SPECIAL_TOKENS`. A model of random weights would write images into its answers.
IMAGE_TOKEN = len(tiny.SPECIAL_TOKENS)


def tokenizer() -> Any:
    """Return the tiny tokenizer with a token for images, and a chat template that knows messages in parts."""
    tokens = tiny.tokenizer([IMAGE])
    tokens.chat_template = tiny.chat_template("chatml_images")
    return tokens


def processor() -> Any:
    """Return the processor of `model`. Needs Pillow."""
    import transformers

    tokens = tokenizer()
    # transformers 5 calls the one that needs no torchvision by another name.
    kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    return transformers.LlavaProcessor(
        image_processor=kind(size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS}),
        tokenizer=tokens,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        image_token=IMAGE,
        num_additional_image_tokens=1,
        chat_template=tokens.chat_template,
    )


def model(folder: Path) -> Any:
    """Return a fresh model, always of the same weights, from `folder`, where it is written once with its processor.

    From there, because trainers load a reference by the name of their policy.
    """
    import transformers

    place = folder / "vision"
    if not (place / "complete").exists():
        _built().save_pretrained(place)
        processor().save_pretrained(place)
        (place / "complete").touch()
    return transformers.LlavaForConditionalGeneration.from_pretrained(place)


def _built() -> Any:
    import torch
    import transformers

    tokens = tokenizer()
    eyes = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=PIXELS,
        patch_size=PATCH,
        projection_dim=16,
    )
    config = transformers.LlavaConfig(
        vision_config=eyes,
        text_config=tiny.config(tokens),
        image_token_index=IMAGE_TOKEN,
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    built = transformers.LlavaForConditionalGeneration(config)
    built.generation_config.eos_token_id = tokens.eos_token_id
    built.generation_config.pad_token_id = tokens.pad_token_id
    return built


def images(count: int) -> list[Any]:
    """Return so many images, each of a red of its own."""
    from PIL import Image

    return [Image.new("RGB", (PIXELS, PIXELS), (255 * i // max(count, 1), 0, 0)) for i in range(count)]
