"""conformance.stubs: the stand-in for vLLM answers with its model, refuses what it does not serve, leaves nothing."""

from __future__ import annotations

import base64
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from conformance import stubs, tiny
from conformance.stubs import gpu, vllm

torch = pytest.importorskip("torch")

PROMPT = [5, 6, 7, 8]


def ask(server: vllm.Server, path: str, asked: dict[str, Any] | None = None) -> dict[str, Any]:
    """GET a path, or POST to it."""
    body = None if asked is None else json.dumps(asked).encode()
    with urllib.request.urlopen(f"{server.url}{path}", data=body, timeout=30) as reply:
        told: dict[str, Any] = json.loads(reply.read())
    return told


@pytest.fixture
def server() -> Iterator[vllm.Server]:
    """Give a server of a fresh model."""
    with vllm.serve(tiny.build("CausalLM", tiny.tokenizer(), 0), "causal") as standing:
        yield standing


def logprobs(server: vllm.Server, tokens: list[int]) -> Any:
    """Return the model's own log-probabilities, computed here."""
    with torch.no_grad():
        return server._model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)


def test_it_tells_what_clients_ask_first(server: vllm.Server) -> None:
    assert ask(server, "/health/") == {}
    assert ask(server, "/v1/models")["data"] == [{"id": "causal", "max_model_len": 512}]
    assert ask(server, "/get_world_size") == {"world_size": 1}
    told = ask(server, "/server_info?config_format=json")["vllm_config"]
    assert told["model_config"]["dtype"] == "torch.float32"
    assert told["lora_config"] is None


@pytest.mark.parametrize("prompt", [PROMPT, [PROMPT, PROMPT[:2]]], ids=["one", "two"])
def test_completions_are_sampled_and_scored_by_the_model(server: vllm.Server, prompt: Any) -> None:
    asked = {"prompt": prompt, "max_tokens": 4, "temperature": 1.0, "seed": 7, "n": 1, "top_k": 0}
    told = ask(server, "/v1/completions", asked)
    assert told == ask(server, "/v1/completions", asked)
    for choice, start in zip(told["choices"], prompt if isinstance(prompt[0], list) else [prompt], strict=True):
        sampled, scores = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        assert len(sampled) == 4
        rows = logprobs(server, start + sampled)[len(start) - 1 : -1]
        assert scores == pytest.approx([float(row[t]) for row, t in zip(rows, sampled, strict=True)], abs=1e-5)
    others = [ask(server, "/v1/completions", {**asked, "seed": seed})["choices"][0]["token_ids"] for seed in range(5)]
    assert len({tuple(tokens) for tokens in others}) > 1


def test_a_completion_ends_with_the_end(server: vllm.Server) -> None:
    best = int(logprobs(server, PROMPT)[-1].argmax())
    server._model.generation_config.eos_token_id = [best]
    choice = ask(server, "/v1/completions", {"prompt": PROMPT, "max_tokens": 9, "temperature": 0})["choices"][0]
    assert (choice["token_ids"], choice["finish_reason"]) == ([best], "stop")


def test_prompt_logprobs_have_the_best_and_the_one_that_stands_there(server: vllm.Server) -> None:
    asked = {"prompt": PROMPT, "max_tokens": 1, "prompt_logprobs": 2}
    told = ask(server, "/v1/completions", asked)["choices"][0]["prompt_logprobs"]
    assert told[0] is None
    for row, token, position in zip(logprobs(server, PROMPT), PROMPT[1:], told[1:], strict=False):
        ranks = {entry["rank"] for entry in position.values()}
        assert {1, 2} <= ranks
        assert position[str(token)]["logprob"] == pytest.approx(float(row[token]), abs=1e-5)


def test_sequences_are_scored_in_lists_and_in_arrays(server: vllm.Server) -> None:
    import numpy as np

    asked = {"sequences": [[*PROMPT, 9], PROMPT], "prompt_lengths": [2, 3], "top_logprobs": 3, "temperature": 1.0}
    lists = ask(server, "/get_sequence_logprobs/", asked)
    assert [len(rows) for rows in lists["logprobs"]] == [3, 1]
    assert lists["actual_token_ids"] == [[[7], [8], [9]], [[8]]]
    packed = ask(server, "/get_sequence_logprobs/", {**asked, "response_format": "binary"})
    assert (packed["shape"], packed["completion_lengths"]) == ([2, 3, 3], [3, 1])
    array = np.frombuffer(base64.b64decode(packed["logprobs_b64"]), np.float32).reshape(packed["shape"])
    assert array[0].tolist() == pytest.approx(np.array(lists["logprobs"][0]), abs=1e-6)
    assert np.isneginf(array[1, 1:]).all()


@pytest.mark.parametrize(
    "path, asked, status",
    [
        ("/v1/chat/completions", {}, 404),
        ("/v1/completions", {"prompt": PROMPT, "max_tokens": 1, "top_p": 0.9}, 400),
        ("/v1/completions", {"prompt": PROMPT}, 400),
    ],
)
def test_what_is_not_served_is_an_error(server: vllm.Server, path: str, asked: dict[str, Any], status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server, path, asked)
    assert refused.value.code == status
    assert json.loads(refused.value.read())["error"]


def test_weights_that_are_sent_are_sampled_with(server: vllm.Server) -> None:
    engine = gpu.replacements(server).vllm["NCCLWeightTransferEngine"]
    other = tiny.build("CausalLM", tiny.tokenizer(), 3)
    names = [name for name, _ in other.named_parameters()]
    engine.trainer_send_weights(other.named_parameters(), trainer_args=None)
    ask(server, "/update_weights", {"update_info": {"names": names}})
    assert server.updates == 1
    with torch.no_grad():
        expected = other(input_ids=torch.tensor([PROMPT])).logits[0].log_softmax(-1)
    assert torch.allclose(logprobs(server, PROMPT), expected)


@pytest.mark.parametrize("announced", [["lm_head.weight"], []], ids=["another", "none"])
def test_weights_that_were_not_announced_are_refused(server: vllm.Server, announced: list[str]) -> None:
    before = logprobs(server, PROMPT)
    server.weights.put({"model.norm.weight": torch.zeros(16)})
    with pytest.raises(urllib.error.HTTPError):
        ask(server, "/update_weights", {"update_info": {"names": announced}})
    assert server.updates == 0
    assert torch.equal(logprobs(server, PROMPT), before)


def test_a_closed_server_answers_no_more() -> None:
    with vllm.serve(tiny.build("CausalLM", tiny.tokenizer(), 0), "causal") as standing:
        ask(standing, "/health")
    with pytest.raises(urllib.error.URLError):
        ask(standing, "/health")


def test_packed_samples_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 4, 7, 8), torch.randn(1, 2, 7, 8), torch.randn(1, 2, 7, 8)
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3]])
    packed, _ = gpu.packed_attention(None, query, key, value, None, position_ids=positions)
    for piece in (slice(0, 3), slice(3, 7)):
        alone, _ = gpu.packed_attention(None, query[:, :, piece], key[:, :, piece], value[:, :, piece], None)
        assert torch.allclose(packed[:, piece], alone, atol=1e-6)
    bounds = torch.tensor([0, 3, 7])
    rows = [x[0].transpose(0, 1) for x in (query, key, value)]
    assert torch.allclose(packed[0], gpu.varlen_attention(*rows, bounds, bounds, 4, 4), atol=1e-6)


def test_the_last_query_sees_the_last_key() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 1, 8), torch.randn(5, 1, 8), torch.randn(5, 1, 8)
    whole = gpu.varlen_attention(torch.cat([key[:3], query]), key, value, torch.tensor([0, 5]), torch.tensor([0, 5]))
    tail = gpu.varlen_attention(query, key, value, torch.tensor([0, 2]), torch.tensor([0, 5]))
    assert torch.allclose(whole[3:], tail, atol=1e-6)


def test_names_are_replaced_for_the_time_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ModuleType("fake_trl.x.worker")
    vars(asked).update(is_vllm_available=lambda: False, mp="spawning", unrelated=1)
    plain = ModuleType("fake_trl.x.plain")
    vars(plain).update(mp="spawning")
    before = [dict(vars(asked)), dict(vars(plain))]
    replaced = gpu.Replacements({"is_vllm_available": lambda: True, "get_ip": "ip"}, {"mp": "forking", "absent": 0})
    with stubs._replaced([asked, plain], replaced):
        assert asked.is_vllm_available()
        assert (asked.get_ip, asked.mp, asked.unrelated, hasattr(asked, "absent")) == ("ip", "forking", 1, False)
        assert (plain.mp, hasattr(plain, "get_ip")) == ("forking", False)
    assert [dict(vars(asked)), dict(vars(plain))] == before


def test_a_training_that_fails_gives_the_names_back_too() -> None:
    module = ModuleType("fake_trl.x.worker")
    vars(module).update(mp="spawning")
    with pytest.raises(KeyError), stubs._replaced([module], gpu.Replacements({}, {"mp": "forking"})):
        raise KeyError
    assert module.mp == "spawning"


def test_settings_get_addresses_of_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stubs, "CLIENTS", ())
    monkeypatch.setitem(sys.modules, "fake_trl.x.worker", ModuleType("fake_trl.x.worker"))
    trainer = type("XTrainer", (), {"__module__": "fake_trl.x.trainer"})
    made: list[str] = []

    def load(name: str) -> Any:
        made.append(name)
        return tiny.build("CausalLM", tiny.tokenizer(), 0)

    with stubs.stand({"base_url": "causal", "teacher_urls": "teacher"}, trainer, load) as settings:
        served = [settings["base_url"], settings["teacher_urls"]["default"]]
        told = [ask(SimpleNamespace(url=url), "/v1/models")["data"][0]["id"] for url in served]  # type: ignore[arg-type]
    assert told == made == ["causal", "teacher"]
