"""A stand-in for a vLLM server: the real protocols over loop-back HTTP, a tiny model on the CPU behind them.

It replaces the process `vllm serve` (TRL >= 1.12) or `trl vllm-serve` (before), and nothing of TRL. Completions are
really sampled, log-probabilities are the model's, and weights that a trainer sends are what it samples with from then
on. A request that it does not know, or sampling options that it does not have, are an error (404, 400) and never
passed over.

What is served, by who asks (TRL 1.16.0 unless noted):

* `generation/vllm_client.py`: `/health`, `/v1/models`, `/v1/completions` with `prompt_logprobs`; until 1.11
  `/get_sequence_logprobs/`, as lists or as base64 arrays;
* `experimental/async_grpo/vllm_client.py` and `weight_transfer.py` (`async_rollout_worker.py` in 1.0): `/server_info`,
  `/get_world_size`, `/pause`, `/resume`, `/init_weight_transfer_engine`, `/start_weight_update`, `/update_weights`,
  `/finish_weight_update`;
* `experimental/async_*/async_rollout_worker.py`: `/v1/completions` with `return_token_ids`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Seconds that `/update_weights` waits for the weights, which come on another way (NCCL).
TRANSFER_LIMIT = 60.0
#: Sampling options that the stand-in does not have, with the values that ask for nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "top_p": (1, 1.0),
    "top_k": (0, -1),
    "min_p": (None, 0, 0.0),
    "repetition_penalty": (1, 1.0),
    "n": (1,),
    "stream": (False,),
}


class BadRequest(ValueError):
    """What was asked for is not served."""


class Server:
    """A tiny model that answers like vLLM. `url` is its address, `weights` the way on which it gets others."""

    def __init__(self, model: Any, name: str) -> None:
        self.name = name
        self.weights: queue.Queue[dict[str, Any]] = queue.Queue()
        #: How many times the weights were replaced.
        self.updates = 0
        self._model = model.eval()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._http.shutdown()
        self._http.server_close()

    @property
    def routes(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return what is served, by method and path (without the slash at the end)."""
        return {
            "GET /health": nothing,
            "GET /v1/models": lambda _: {"data": [{"id": self.name, "max_model_len": self._longest}]},
            "GET /get_world_size": lambda _: {"world_size": 1},
            "GET /server_info": self._info,
            "POST /v1/completions": self._completions,
            "POST /get_sequence_logprobs": self._sequence_logprobs,
            "POST /update_weights": self._update,
        } | {f"POST /{path}": nothing for path in _ACKNOWLEDGED}

    @property
    def _longest(self) -> int:
        return int(self._model.config.max_position_embeddings)

    def _info(self, _: dict[str, Any]) -> dict[str, Any]:
        kind = {"dtype": str(self._model.dtype), "max_model_len": self._longest}
        parallel = {"data_parallel_size": 1, "tensor_parallel_size": 1}
        return {"vllm_config": {"model_config": kind, "lora_config": None, "parallel_config": parallel}}

    def _update(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take the weights that come on the other way, those that were announced and no others."""
        names = asked["update_info"]["names"]
        sent = self.weights.get(timeout=TRANSFER_LIMIT)
        if sorted(sent) != sorted(names):
            raise BadRequest(f"announced {sorted(names)}, sent {sorted(sent)}")
        with self._lock:
            unknown = self._model.load_state_dict(sent, strict=False).unexpected_keys
            if unknown:
                raise BadRequest(f"the model has no {unknown}")
            self.updates += 1
        return {}

    def _logprobs(self, tokens: list[int], temperature: float) -> Any:
        """Return a tensor (position, token) of log-probabilities of the token that follows each position."""
        import torch

        with torch.no_grad(), self._lock:
            logits = self._model(input_ids=torch.tensor([tokens])).logits[0].float()
        return (logits / temperature if temperature > 0 else logits).log_softmax(-1)

    def _completions(self, asked: dict[str, Any]) -> dict[str, Any]:
        for option, neutral in NEUTRAL.items():
            if asked.get(option, neutral[0]) not in neutral:
                raise BadRequest(f"{option}={asked[option]} is not served")
        prompts = asked["prompt"] if isinstance(asked["prompt"][0], list) else [asked["prompt"]]
        return {"model": self.name, "choices": [self._complete(i, p, asked) for i, p in enumerate(prompts)]}

    def _complete(self, index: int, prompt: list[int], asked: dict[str, Any]) -> dict[str, Any]:
        import torch

        temperature = float(asked.get("temperature", 1.0))
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        # One seed, one completion: as vLLM, which also wants 64 bits at most.
        chance = torch.Generator().manual_seed(int(asked.get("seed") or 0) % 2**63 + index)
        tokens = list(prompt)
        scores: list[float] = []
        while len(scores) < asked["max_tokens"]:
            following = self._logprobs(tokens, temperature)[-1]
            sampled = torch.multinomial(following.exp(), 1, generator=chance) if temperature > 0 else following.argmax()
            tokens.append(int(sampled))
            scores.append(float(following[tokens[-1]]))
            if tokens[-1] in ends:
                break
        choice = {
            "index": index,
            "text": "",
            "token_ids": tokens[len(prompt) :],
            "finish_reason": "stop" if tokens[-1] in ends else "length",
            "logprobs": {"tokens": [f"token_id:{t}" for t in tokens[len(prompt) :]], "token_logprobs": scores},
        }
        if asked.get("prompt_logprobs"):
            choice["prompt_logprobs"] = self._prompt_logprobs(prompt, temperature, asked["prompt_logprobs"])
        return choice

    def _prompt_logprobs(self, prompt: list[int], temperature: float, top: int) -> list[Any]:
        """Return per position {token: {logprob, rank}} of the `top` tokens and of the one that stands there."""
        found: list[Any] = [None]
        for row, token in zip(self._logprobs(prompt, temperature), prompt[1:], strict=False):
            wanted = [*row.topk(top).indices.tolist(), token]
            found.append({str(t): {"logprob": float(row[t]), "rank": int((row > row[t]).sum()) + 1} for t in wanted})
        return found

    def _sequence_logprobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Score the completions of whole sequences, the protocol of `trl vllm-serve`."""
        top, temperature = asked["top_logprobs"], float(asked.get("temperature", 1.0))
        found: dict[str, list[Any]] = {name: [] for name in _ARRAYS}
        for tokens, start in zip(asked["sequences"], asked["prompt_lengths"], strict=True):
            rows = self._logprobs(tokens, temperature)[start - 1 : len(tokens) - 1]
            best = rows.topk(top)
            found["logprobs"].append(best.values.tolist())
            found["logprob_token_ids"].append(best.indices.tolist())
            found["actual_logprobs"].append([[float(row[t])] for row, t in zip(rows, tokens[start:], strict=True)])
            found["actual_token_ids"].append([[t] for t in tokens[start:]])
        return _packed(found) if asked.get("response_format") == "binary" else found


#: Announcements of a weight update. They need no answer here: one thread replaces the weights, under a lock.
_ACKNOWLEDGED = (
    "pause",
    "resume",
    "init_weight_transfer_engine",
    "start_weight_update",
    "finish_weight_update",
    "reset_prefix_cache",
)
#: Name of each part in a reply of lists -> its name in a binary one, type, value of what is padded.
_ARRAYS: dict[str, tuple[str, str, float]] = {
    "logprobs": ("logprobs_b64", "float32", float("-inf")),
    "logprob_token_ids": ("token_ids_b64", "int32", 0),
    "actual_logprobs": ("actual_logprobs_b64", "float32", float("-inf")),
    "actual_token_ids": ("actual_token_ids_b64", "int32", 0),
}


def nothing(_: dict[str, Any]) -> dict[str, Any]:
    """Answer that it was heard."""
    return {}


def _packed(found: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the arrays of a reply, padded to one length and in base64 (TRL 1.9-1.11, `_decode_binary_logprobs`)."""
    import numpy as np

    lengths = [len(rows) for rows in found["logprobs"]]
    top = max(len(row) for rows in found["logprobs"] for row in rows)
    reply: dict[str, Any] = {"shape": [len(lengths), max(lengths), top], "completion_lengths": lengths}
    for name, (packed, kind, padding) in _ARRAYS.items():
        array = np.full((len(lengths), max(lengths), len(found[name][0][0])), padding, kind)
        for i, rows in enumerate(found[name]):
            array[i, : len(rows)] = rows
        reply[packed] = base64.b64encode(array.tobytes()).decode()
    return reply


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Two small writes per answer would wait for each other's acknowledgement: 40 ms for each token.
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            asked = json.loads(self.rfile.read(size) or b"{}")
            route = f"{self.command} {self.path.partition('?')[0].rstrip('/')}"
            if route not in server.routes:
                return self._reply(404, {"error": f"{route} is not served"})
            try:
                reply = server.routes[route](asked)
            except Exception as error:
                return self._reply(400, {"error": f"{type(error).__name__}: {error}"})
            return self._reply(200, reply)

        def _reply(self, status: int, reply: dict[str, Any]) -> None:
            body = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

    return Handler


@contextlib.contextmanager
def serve(model: Any, name: str) -> Iterator[Server]:
    """Serve a causal language model under `name` until the context ends."""
    server = Server(model, name)
    try:
        yield server
    finally:
        server.close()
