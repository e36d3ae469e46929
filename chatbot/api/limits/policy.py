"""The requests that visitors of the chat page may send. Keys may send all that `chatbot.api.schemas` allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chatbot.api.schemas import ChatRequest
from shoptalk.errors import Forbidden, InvalidInput
from shoptalk.settings import Settings

# name -> whether a request uses it. Each makes a reply cost more than the page needs, or presumes that the caller
# knows the customer: a seed keeps a prompt from being computed together with others and from the cache of earlier ones
FOR_KEYS: Final[Mapping[str, Callable[[ChatRequest], bool]]] = {
    "ignore_eos": lambda body: body.ignore_eos,
    "min_tokens": lambda body: body.min_tokens > 0,
    "logprobs": lambda body: bool(body.logprobs),
    "seed": lambda body: body.seed is not None,
    "customer": lambda body: body.customer is not None,
}


def check_visitor(settings: Settings, body: ChatRequest) -> None:
    """Raise Forbidden where a field needs an API key, InvalidInput where the messages are too long."""
    for field, asked in FOR_KEYS.items():
        if asked(body):
            raise Forbidden(f"{field} needs an API key; visitors of the chat page leave it out.", field=field)
    if body.model != settings.model_alias:
        raise Forbidden(f"model: visitors of the chat page ask for '{settings.model_alias}'.", field="model")
    lengths = [len(message.text) for message in body.messages]
    if lengths[-1] > settings.visitor_message_characters:
        raise InvalidInput(
            f"Your message has {lengths[-1]} characters; a visitor's may have {settings.visitor_message_characters}. "
            "Shorten it.",
            field=f"messages.{len(lengths) - 1}.content",
            code="context_length_exceeded",
        )
    if len(lengths) > settings.visitor_messages or sum(lengths) > settings.visitor_characters:
        raise InvalidInput(
            f"Your {len(lengths)} messages have {sum(lengths)} characters; a visitor may send "
            f"{settings.visitor_messages} messages of {settings.visitor_characters} characters in all. "
            "Leave the oldest out.",
            field="messages",
            code="context_length_exceeded",
        )
