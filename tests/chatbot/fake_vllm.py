"""A stand-in for vLLM's HTTP server: the part that the engine uses, without a model, and able to misbehave.

The same tests run on both (test_vllm.py) and show that it answers as vLLM does.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from shoptalk.models.basemodel import BaseModel, ChatTokenizer

TOKEN_S = 0.004


class FakeVllm:
    """A server whose replies name the requested model. Attributes change its behaviour, at any time."""

    def __init__(self, base: BaseModel, tokenizer: ChatTokenizer) -> None:
        self.base, self.tokenizer = base, tokenizer
        self.context = 2048
        self.version = "0.32.0"
        self.name, self.root = base.name, str(base.folder)
        self.key: str | None = None
        self.runtime_loading = True
        self.refuses = ""  # its error message for every adapter
        self.status = 0  # of its answer to every request for a reply; 0: it replies
        self.trouble = ""  # "cut", "error", "nonsense", "silence", "abort": what happens after three tokens
        self.adapters: dict[str, str] = {}
        self.bodies: list[dict[str, Any]] = []
        self.ended_early = 0
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start without adapters, on the same port as before."""
        self.adapters.clear()
        fake = self

        class Handler(_Handler):
            def setup(self) -> None:
                self.fake = fake
                fake.connections.add(self.request)
                super().setup()

        self.connections: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.socket.close()  # not server_close, which would wait for replies
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def tokens(self, body: dict[str, Any]) -> list[int]:
        """Return all tokens of a reply."""
        said = self.tokenizer.encode(
            f"I am {body['model']}. Ask me – anything you like about orders, shoes and refunds 🙂"
        )
        most, least = body["max_tokens"], body["min_tokens"]
        whole = list(itertools.islice(itertools.cycle(said), max(least, len(said))))
        return (whole if len(whole) > len(said) else [*said, self.tokenizer.eos])[:most]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeVllm

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        fake = self.fake
        if self.path == "/health":
            self._answer(200)
        elif self.path == "/version":
            self._answer(200, {"version": fake.version})
        elif fake.key and self.headers["Authorization"] != f"Bearer {fake.key}":
            self._answer(401, {"error": "Unauthorized"})
        elif self.path == "/v1/models":
            base = {"id": fake.name, "root": fake.root, "parent": None, "max_model_len": fake.context}
            adapters = [{"id": n, "root": p, "parent": fake.name} for n, p in fake.adapters.items()]
            self._answer(200, {"object": "list", "data": [base, *adapters]})
        elif self.path == "/v1/load_lora_adapter" and fake.runtime_loading:
            self._answer(405, {"detail": "Method Not Allowed"})
        else:
            self._answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        fake = self.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            name, path = body["lora_name"], body["lora_path"]
            if fake.refuses:
                self._error(500, fake.refuses)
            elif not (Path(path) / "adapter_model.safetensors").exists():
                self._error(404, f"Loading lora {name} failed: No adapter found for {path}")
            elif name in fake.adapters:
                self._error(400, f"The lora adapter '{name}' has already been loaded.")
            else:
                fake.adapters[name] = path
                self._answer(200)
        elif self.path == "/v1/unload_lora_adapter":
            if fake.adapters.pop(body["lora_name"], None):
                self._answer(200)
            else:
                self._error(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
        elif fake.status:
            self._error(fake.status, "no")
        elif body["model"] not in (fake.name, *fake.adapters):
            self._error(404, f"The model `{body['model']}` does not exist.")
        else:
            self._complete(body)

    def _complete(self, body: dict[str, Any]) -> None:
        fake = self.fake
        fake.bodies.append(body)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        tokens, said = fake.tokens(body), ""
        try:
            for i, token in enumerate(tokens):
                if i == 3 and fake.trouble:
                    return self._misbehave()
                time.sleep(TOKEN_S)
                said += fake.tokenizer.decode([token], skip_special_tokens=True)
                stopped = any(s in said for s in body["stop"])
                last = "stop" if stopped or token == fake.tokenizer.eos else "length" if i + 1 == len(tokens) else None
                self._event(_choice(token, body["logprobs"], last))
                if last:
                    break
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 7}}
            self._event({"choices": [], "usage": usage})
            self._piece(b"data: [DONE]\n\n")
            self._piece(b"")
        except OSError:
            fake.ended_early += 1
            raise
        return None

    def _misbehave(self) -> None:
        trouble = self.fake.trouble
        if trouble == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif trouble == "error":
            self._event({"error": {"message": "Internal server error", "type": "InternalServerError", "code": 500}})
        elif trouble == "nonsense":
            self._piece(b'data: {"choices": [{"text": "hel\n\n')
        elif trouble == "abort":
            self._event(_choice(5, 0, "abort"))
        elif trouble == "silence":
            time.sleep(3)
        self._piece(b"")

    def _event(self, event: dict[str, Any]) -> None:
        self._piece(f"data: {json.dumps(event)}\n\n".encode())

    def _piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _error(self, status: int, message: str) -> None:
        self._answer(status, {"error": {"message": message, "type": "Error", "param": None, "code": status}})

    def _answer(self, status: int, body: dict[str, Any] | None = None) -> None:
        data = json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _choice(token: int, top: int, finish: str | None) -> dict[str, Any]:
    likely = {f"token_id:{token + i}": -0.25 - i for i in range(top + 1)}
    logprobs = {"tokens": [f"token_id:{token}"], "token_logprobs": [-0.25], "top_logprobs": [likely]}
    return {"choices": [{"index": 0, "text": "x", "logprobs": logprobs, "finish_reason": finish}]}
