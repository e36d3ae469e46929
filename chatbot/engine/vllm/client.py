"""A vLLM server's HTTP API: what it serves, its adapters, and one reply's tokens as they come.

Knows no queue and no text: prompts and replies are token ids, and nothing of either is in an error. Raises
EngineUnavailable where the server does not answer as vLLM does, and VllmRefused where it refuses a request.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from shoptalk.errors import ConfigurationError, EngineUnavailable, ShoptalkError

ANSWER_S = 15.0  # for requests that cost it nothing: it may be busy
LOAD_S = 120.0
MAX_EVENT = 2**20
ID = "token_id:"
LISTS = ("tokens", "token_logprobs", "top_logprobs")


class VllmRefused(ShoptalkError):
    """vLLM refused the request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model the server knows, or an adapter, whose model is its `parent`. `root` is where it was loaded from."""

    name: str
    root: str
    parent: str | None
    max_context: int


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """A token id, its natural-log probability at temperature 1, and the likeliest alternatives, likeliest first."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """A piece of a stream. `finish` is vLLM's finish_reason, `cached` the prompt's tokens that were not computed."""

    tokens: tuple[GeneratedToken, ...] = ()
    finish: str | None = None
    cached: int | None = None


class VllmClient:
    """HTTP client of one vLLM server, for one event loop; close it there."""

    def __init__(self, url: str, key: str | None, patience_s: float) -> None:
        """Check the address; `patience_s` is the longest wait for the next piece of a reply.

        Raises ConfigurationError for an address that is none.
        """
        parts = _parse(url)
        self.url = str(parts).rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=parts,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=ANSWER_S,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=False,
        )
        self._patience = httpx.Timeout(ANSWER_S, read=patience_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def check_health(self) -> None:
        """Raise EngineUnavailable where the server does not answer or is not healthy."""
        await self._get("/health")

    async def version(self) -> str:
        return str(_field(await self._get("/version"), "version"))

    async def cards(self) -> list[ModelCard]:
        """Return the base model under each of its names, and the adapters."""
        entries = _field(await self._get("/v1/models"), "data")
        try:
            return [
                ModelCard(r["id"], r.get("root") or "", r.get("parent"), r.get("max_model_len") or 0) for r in entries
            ]
        except (TypeError, KeyError, AttributeError):
            raise EngineUnavailable(f"the server at {self.url} is not vLLM") from None

    async def loads_adapters(self) -> bool:
        """Return whether the server was started so that adapters can be loaded while it runs."""
        response = await self._send("GET", "/v1/load_lora_adapter")
        return response.status_code == httpx.codes.METHOD_NOT_ALLOWED  # the route exists, and takes POST only

    async def load(self, name: str, path: str) -> None:
        """Load an adapter under a new name. Raises VllmRefused, also where vLLM reports an internal error."""
        body = {"lora_name": name, "lora_path": path}
        await self._post("/v1/load_lora_adapter", body)

    async def unload(self, name: str) -> None:
        """Unload an adapter; fine where the server does not know it."""
        try:
            await self._post("/v1/unload_lora_adapter", {"lora_name": name})
        except VllmRefused as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[StreamChunk, None]:
        """Stream a completion. Closing the iterator early ends it on the server too."""
        try:
            async with self._http.stream("POST", "/v1/completions", json=body, timeout=self._patience) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise self._refusal(response)
                done = False
                async for data in _events(response):
                    done = done or data == b"[DONE]"
                    if not done:
                        yield _chunk(data)
                if not done:
                    raise EngineUnavailable("vLLM's stream broke off in the middle of a reply")
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def _get(self, path: str) -> Any:
        response = await self._send("GET", path)
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response)
        try:
            return response.json() if response.content else None
        except ValueError:
            raise EngineUnavailable(f"the server at {self.url} is not vLLM") from None

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        response = await self._send("POST", path, json=body, timeout=LOAD_S)
        if response.status_code == httpx.codes.OK:
            return
        message = _error_message(response)
        raise VllmRefused(response.status_code, message) if message else self._refusal(response)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.HTTPError) -> EngineUnavailable:
        return EngineUnavailable(f"vLLM at {self.url} does not answer ({type(error).__name__})")

    def _refusal(self, response: httpx.Response) -> ShoptalkError:
        status = response.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return ConfigurationError(
                f"vLLM at {self.url} refuses our API key", fix="set SHOPTALK_VLLM_API_KEY to its own"
            )
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return EngineUnavailable(f"vLLM at {self.url} answers with status {status}")
        return VllmRefused(status, f"vLLM at {self.url} answers with status {status}")


def _parse(url: str) -> httpx.URL:
    wrong = "SHOPTALK_VLLM_URL must be like http://127.0.0.1:8100"
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        raise ConfigurationError(wrong) from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigurationError(wrong)
    if parts.userinfo:
        raise ConfigurationError(wrong, fix="put the key into SHOPTALK_VLLM_API_KEY")
    return parts


def _field(answer: Any, name: str) -> Any:
    if not isinstance(answer, dict) or name not in answer:
        raise EngineUnavailable(f"the server is not vLLM: its answer has no '{name}'")
    return answer[name]


def _error_message(response: httpx.Response) -> str:
    """Return vLLM's own message, where the answer has its shape."""
    try:
        return str(response.json()["error"]["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return ""


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the data of server-sent events, each on one line.

    Split at newlines only: text may hold other line separators.
    """
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
        if len(rest) > MAX_EVENT:
            raise EngineUnavailable("vLLM sent something other than a stream of tokens")


def _chunk(data: bytes) -> StreamChunk:
    try:
        event = json.loads(data)
        if "error" in event:
            raise EngineUnavailable("vLLM failed in the middle of a reply")
        usage = event.get("usage") or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        if not event["choices"]:
            return StreamChunk(cached=int(cached))
        choice = event["choices"][0]
        found = choice["logprobs"] if choice["text"] else choice["logprobs"] or dict.fromkeys(LISTS, ())
        columns = zip(*(found[name] for name in LISTS), strict=True)
        tokens = tuple(GeneratedToken(_id(name), float(logprob), _top(top)) for name, logprob, top in columns)
        return StreamChunk(tokens, choice.get("finish_reason"))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise EngineUnavailable("vLLM sent something other than a stream of tokens") from None


def _id(name: str) -> int:
    if not name.startswith(ID):
        raise ValueError
    return int(name.removeprefix(ID))


def _top(found: Mapping[str, float] | None) -> tuple[tuple[int, float], ...]:
    pairs = [(_id(name), float(logprob)) for name, logprob in (found or {}).items()]
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))
