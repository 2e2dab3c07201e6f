"""Stand-ins for what TRL's asynchronous trainers take from a GPU and from an installed vLLM, in their own process.

What is replaced, where TRL's modules have the name (TRL 1.16.0 unless noted), and by what:

* `is_vllm_available`: yes. vLLM itself is not imported; its server is `conformance.stubs.vllm`.
* `NCCLWeightTransferEngine`, `NCCLTrainerSendWeightsArgs` (`experimental/async_grpo/weight_transfer.py`, in 1.0 its
  `async_rollout_worker.py`): the weights go to the server through memory instead of NCCL, between the same requests.
* `_flash_attn` (`experimental/async_grpo/packing.py`) and attention implementations named `…flash…`
  (`async_grpo_trainer.py` 1.7-1.15, `async_distillation_trainer.py`): the same attention over packed rows, on the CPU.
* `get_peak_flops_per_device` (`trainer/utils.py`): None, its answer for a device that it does not know.
* `mp`: the rollout worker's process is forked, not spawned: that saves importing TRL once more, some fifteen seconds.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

from conformance.stubs.vllm import Server

#: Name under which `packed_attention` is known to transformers.
ATTENTION = "conformance_packed"


@dataclass(frozen=True)
class Replacements:
    """Names and their values: `vllm` for modules that use vLLM, `others` wherever they are."""

    vllm: dict[str, Any]
    others: dict[str, Any]


def replacements(server: Server) -> Replacements:
    """Return what stands in for vLLM and the GPU, for a trainer that sends its weights to `server`."""
    _register()
    return Replacements(
        vllm={
            "is_vllm_available": lambda *_, **__: True,
            "_HAS_STATEFUL_TRAINER_ENGINE": False,
            "NCCLWeightTransferEngine": _engine(server),
            "NCCLTrainerSendWeightsArgs": SimpleNamespace,
            "get_ip": lambda: "127.0.0.1",
            "get_open_port": lambda: 0,
        },
        others={
            "_flash_attn": lambda: SimpleNamespace(flash_attn_varlen_func=varlen_attention),
            "create_model_from_path": _unflashed("trl.trainer.utils", "create_model_from_path"),
            "AutoModelForCausalLM": _OnCPU,
            "get_peak_flops_per_device": lambda *_, **__: None,
            "mp": _forking(),
        },
    )


def _engine(server: Server) -> type:
    class Engine:
        """vLLM's `NCCLWeightTransferEngine`, trainer's side."""

        @staticmethod
        def trainer_init(_: dict[str, Any]) -> Any:
            # TRL takes leave of its group by forgetting these two.
            return SimpleNamespace(group=SimpleNamespace(store=None, socket=None))

        @staticmethod
        def trainer_send_weights(iterator: Iterable[tuple[str, Any]], trainer_args: Any) -> None:
            server.weights.put({name: tensor.detach().cpu().clone() for name, tensor in iterator})

    return Engine


def _forking() -> ModuleType:
    module = ModuleType("multiprocessing")
    vars(module).update(vars(multiprocessing))
    vars(module)["get_context"] = lambda *_: multiprocessing.get_context("fork")
    return module


# ---- attention -------------------------------------------------------------------------------------------------------


def _on_cpu(options: dict[str, Any]) -> dict[str, Any]:
    if "flash" in str(options.get("attn_implementation")):
        return {**options, "attn_implementation": ATTENTION}
    return options


def _unflashed(module: str, name: str) -> Callable[..., Any]:
    """Return TRL's function `name` with an attention that the CPU has."""

    def call(*args: Any, **options: Any) -> Any:
        return getattr(__import__(module, fromlist=[name]), name)(*args, **_on_cpu(options))

    return call


class _OnCPU:
    """transformers' `AutoModelForCausalLM` with an attention that the CPU has."""

    @staticmethod
    def from_pretrained(*args: Any, **options: Any) -> Any:
        import transformers

        return transformers.AutoModelForCausalLM.from_pretrained(*args, **_on_cpu(options))


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(ATTENTION, packed_attention)
    AttentionMaskInterface.register(ATTENTION, lambda *_, **__: None)


def _attend(query: Any, key: Any, value: Any, allowed: Any, scale: float | None) -> Any:
    """Return attention over (heads, tokens, width), key and value heads repeated to the query's."""
    import torch

    groups = query.shape[0] // key.shape[0]
    key, value = (x.repeat_interleave(groups, 0) for x in (key, value))
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(query[None], key[None], value[None], attn_mask=allowed[None, None], scale=scale)[0]


def packed_attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    *,
    position_ids: Any = None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Any, None]:
    """Attend causally within each sample of a packed row: a sample starts where `position_ids` start again.

    The signature of transformers' attention functions; query is (batch, heads, tokens, width).
    """
    import torch

    length = query.shape[2]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    rows = []
    for i in range(query.shape[0]):
        allowed = causal
        if position_ids is not None:
            sample = (position_ids[min(i, len(position_ids) - 1)] == 0).cumsum(0)
            allowed = causal & (sample[:, None] == sample[None, :])
        rows.append(_attend(query[i], key[i], value[i], allowed, scaling))
    return torch.stack(rows).transpose(1, 2), None


def varlen_attention(
    query: Any,
    key: Any,
    value: Any,
    cu_seqlens_q: Any,
    cu_seqlens_k: Any,
    *_: Any,
    softmax_scale: float | None = None,
    causal: bool = True,
    **__: Any,
) -> Any:
    """Attend within each of several sequences laid end to end, the last query seeing the last key.

    FlashAttention's `flash_attn_varlen_func`: tensors are (tokens, heads, width), `cu_seqlens` the bounds.
    """
    import torch

    out = []
    for i in range(len(cu_seqlens_q) - 1):
        q = query[cu_seqlens_q[i] : cu_seqlens_q[i + 1]].transpose(0, 1)
        k, v = (x[cu_seqlens_k[i] : cu_seqlens_k[i + 1]].transpose(0, 1) for x in (key, value))
        seen = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool)
        allowed = seen.tril(k.shape[1] - q.shape[1]) if causal else seen
        out.append(_attend(q, k, v, allowed, softmax_scale).transpose(0, 1))
    return torch.cat(out)
