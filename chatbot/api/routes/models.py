"""GET /v1/models: the names that requests may send as `model`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from chatbot.api.answers import ListAnswer, ModelAnswer
from chatbot.api.auth import require
from chatbot.api.caller import Caller
from chatbot.api.openapi import KEYED, refusals
from chatbot.api.services import ServicesDep
from shoptalk.domain import Scope

router = APIRouter(tags=["reading"], responses=refusals(*KEYED))


@router.get("/v1/models")
async def models(services: ServicesDep, _: Annotated[Caller, require(Scope.CHAT)]) -> ListAnswer[ModelAnswer]:
    """List aliases, with the adapter each serves, and the resident adapter versions."""
    data = [ModelAnswer(id=alias, serves=str(adapter)) for alias, adapter in services.router.aliases.items()]
    data += [ModelAnswer(id=str(ref), serves=None) for ref in services.engine.resident()]
    return ListAnswer(data=data)
