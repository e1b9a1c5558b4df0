"""A server for embeddings with the protocols of OpenAI and of Ollama, strict about what these document.

Emulated, not the real thing: vectors are made from the hash of the text, so that equal texts have equal vectors and
others have none alike; a token is a word of at most four letters or a piece of one. Refused as the real ones do: a key
that is wrong (401), a model that there is not (404), an empty text, more than 2,048 texts, more than 300,000 tokens, a
text of more than 8,192 (400), `dimensions` for a model that cannot. Ollama refuses a text that is longer than its model
reads only when told not to trim it.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY = "sk-test-0123456789abcdef"
MODELS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536, "tiny": 8}
OLLAMA_MODELS = {"nomic-embed-text:latest": 768, "tiny:latest": 8}
MOST_TEXTS, MOST_TOKENS, LONGEST, OLLAMA_LONGEST = 2048, 300_000, 8192, 2048
FAULTS = ("half", "short", "reset", "garbage")


def vector(text: str, model: str, dim: int) -> NDArray[np.float32]:
    """The vector of a text, of length 1."""
    seed = int.from_bytes(sha256(f"{model.removesuffix(':latest')}\0{text}".encode()).digest()[:8], "little")
    values = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    unit: NDArray[np.float32] = values / np.float32(np.linalg.norm(values))
    return unit


def tokens(text: str) -> list[str]:
    """The pieces that a text is counted in."""
    return re.findall(r"\w{1,4}|[^\w\s]", text)


@dataclass(frozen=True)
class Fault:
    """What to do instead of answering: a status with headers, or one of `FAULTS`; nothing for an answer as usual.
    `message` is in the body."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""
    message: str = "injected"


class Embeddings:
    """A running server: what it was asked, and how it is to misbehave.

    `faults` are answered first, each once. `key` None: anybody may ask. `floats`: base64 is ignored; `no_base64`: it is
    refused. `poisoned`: texts whose vector is NaN. `delay`: seconds before an answer. `most_texts`: in a request.
    `vector`: what computes the vectors of OpenAI's models.
    """

    def __init__(self) -> None:
        self.address = ""
        self.key: str | None = None
        self.floats = False
        self.no_base64 = False
        self.delay = 0.0
        self.most_texts = MOST_TEXTS
        self.poisoned: set[str] = set()
        self.vector: Callable[[str, str, int], NDArray[np.float32]] = vector
        self.faults: deque[Fault] = deque()
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.times: list[float] = []
        self.answered: Counter[str] = Counter()
        self.at_once = 0
        self.inside = 0
        self.lock = threading.Lock()

    @property
    def openai(self) -> str:
        """The address for OpenAI's protocol."""
        return f"{self.address}/v1"

    def texts(self) -> list[str]:
        """All texts that vectors were sent for, the probe apart."""
        with self.lock:
            return [text for text in self.answered.elements() if text != "vector"]

    def forget(self) -> None:
        """As if it had just been started."""
        self.__dict__.update({**Embeddings().__dict__, "address": self.address})


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@contextmanager
def embedding_server(host: str = "127.0.0.1") -> Iterator[Embeddings]:
    """A server on a free port."""
    state = Embeddings()
    handler = type("Bound", (_Handler,), {"state": state})
    with ThreadingHTTPServer((host, 0), handler) as httpd:
        httpd.daemon_threads = True
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        state.address = f"http://{host}:{httpd.server_address[1]}"
        yield state
        httpd.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Embeddings

    def do_POST(self) -> None:
        state = self.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with state.lock:
            state.bodies.append(body)
            state.keys.append(self.headers["Authorization"])
            state.times.append(time.monotonic())
            state.inside += 1
            state.at_once = max(state.at_once, state.inside)
            fault = state.faults.popleft() if state.faults else None
        try:
            if state.delay:
                time.sleep(state.delay)
            self._respond(body, fault)
        finally:
            with state.lock:
                state.inside -= 1

    def _respond(self, body: dict[str, Any], fault: Fault | None) -> None:
        if fault is not None and fault.status:
            self._send(fault.status, {"error": {"message": fault.message, "code": None}}, fault.headers)
            return
        try:
            answer = self._answer(body)
        except Refusal as error:
            self._send(error.status, self._error(error))
        else:
            self._spoilt(answer, fault.kind) if fault is not None and fault.kind else self._done(body, answer)

    def _done(self, body: dict[str, Any], answer: dict[str, Any]) -> None:
        with self.state.lock:
            self.state.answered.update(body["input"])
        self._send(200, answer)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.path == "/v1/embeddings":
            return _openai(self.state, body, self.headers["Authorization"])
        if self.path == "/api/embed":
            return _ollama(body)
        raise Refusal(404, f"Invalid URL (POST {self.path})")

    def _error(self, error: Refusal) -> dict[str, Any]:
        if self.path == "/api/embed":
            return {"error": str(error)}
        return {"error": {"message": str(error), "type": "invalid_request_error", "param": None, "code": error.code}}

    def _spoilt(self, answer: dict[str, Any], kind: str) -> None:
        if kind == "short":
            rows = answer.get("data") or answer["embeddings"]
            rows.pop()
            self._send(200, answer)
        elif kind == "garbage":
            self._send(200, None, raw=json.dumps(answer).encode()[:-40])
        else:
            if kind == "half":
                raw = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw[: len(raw) // 2])
            self.close_connection = True

    def _send(
        self, status: int, answer: Any, headers: Mapping[str, str] | None = None, raw: bytes | None = None
    ) -> None:
        data = json.dumps(answer).encode() if raw is None else raw
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _openai(state: Embeddings, body: dict[str, Any], key: str | None) -> dict[str, Any]:
    if state.key is not None and key != f"Bearer {state.key}":
        raise Refusal(401, f"Incorrect API key provided: {key}", "invalid_api_key")
    model, texts, encoding = body["model"], body["input"], body.get("encoding_format", "float")
    if model not in MODELS:
        raise Refusal(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
    if state.no_base64 and encoding == "base64":
        raise Refusal(400, "unknown field: encoding_format")
    if len(texts) > state.most_texts:  # as Text Embeddings Inference says it
        raise Refusal(413, f"batch size {len(texts)} > maximum allowed batch size {state.most_texts}")
    _check(texts)
    dim = body.get("dimensions", MODELS[model])
    if dim != MODELS[model] and ("-3-" not in model or not 0 < dim < MODELS[model]):
        raise Refusal(400, "This model does not support specifying dimensions.")
    vectors = [state.vector(text, model, dim) for text in texts]
    for at, text in enumerate(texts):
        if text in state.poisoned:
            vectors[at] = np.full(dim, np.nan, np.float32)
    as_text = encoding == "base64" and not state.floats
    data = [
        {"object": "embedding", "index": at, "embedding": _base64(one) if as_text else _numbers(one)}
        for at, one in enumerate(vectors)
    ]
    used = sum(len(tokens(text)) for text in texts)
    # The specification does not promise an order, so there is none here.
    return {
        "object": "list",
        "data": data[::-1],
        "model": model,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def _check(texts: list[str]) -> None:
    if not 0 < len(texts) <= MOST_TEXTS:
        raise Refusal(400, f"'input' has {len(texts)} items, from 1 to {MOST_TEXTS} are allowed")
    if not all(texts):
        raise Refusal(400, "'$.input' is invalid. Please check the API reference")
    counts = [len(tokens(text)) for text in texts]
    if sum(counts) > MOST_TOKENS:
        raise Refusal(400, f"Requested {sum(counts)} tokens, max {MOST_TOKENS} tokens per request")
    if max(counts) > LONGEST:
        at = counts.index(max(counts))
        raise Refusal(400, f"Invalid 'input[{at}]': maximum context length is {LONGEST} tokens.")


def _ollama(body: dict[str, Any]) -> dict[str, Any]:
    model = body["model"] if ":" in body["model"] else f"{body['model']}:latest"
    if model not in OLLAMA_MODELS:
        raise Refusal(404, f'model "{body["model"]}" not found, try pulling it first')
    texts = body["input"]
    for at, text in enumerate(texts):
        if len(tokens(text)) > OLLAMA_LONGEST:
            if body.get("truncate", True) is False:
                raise Refusal(400, "the input length exceeds the context length")
            texts[at] = " ".join(tokens(text)[:OLLAMA_LONGEST])
    dim = body.get("dimensions") or OLLAMA_MODELS[model]
    return {"model": body["model"], "embeddings": [_numbers(vector(text, model, dim)) for text in texts]}


def _base64(values: NDArray[np.float32]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _numbers(values: NDArray[np.float32]) -> list[float]:
    """The shortest text of each float32, as servers in Go and Python write it."""
    return [float(str(value)) for value in values]
