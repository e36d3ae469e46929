"""DELETE /v1/customers/{id}: everything a customer said is erased, and a receipt says what that was."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse

from chatbot.api.auth import Caller, require
from chatbot.api.documents import KEYED, refusals
from chatbot.api.schemas import StoredId
from chatbot.api.services import Services, services_of
from shoptalk.domain import Erasure, ErasurePolicy, Scope

router = APIRouter(tags=["erasure"], responses=refusals(*KEYED, 400))
Erasing = Annotated[Caller, Depends(require(Scope.ERASE))]
Policy = Annotated[Literal["now", "when_replaced"] | None, Query()]
Customer = Annotated[str, Path(min_length=1, max_length=512)]


@router.delete(
    "/v1/customers/{customer_id:path}",
    responses={202: {"description": "Begun; a worker goes on with what cannot be done now."}},
)
async def erase_customer(request: Request, customer_id: Customer, _: Erasing, policy: Policy = None) -> JSONResponse:
    """Erase a customer, named as requests name them in `user`. `policy` says when adapters trained on it leave service.

    What the customer sends afterwards, in new conversations, is new.
    """
    found = await anyio.to_thread.run_sync(_erase, services_of(request), customer_id, policy)
    return JSONResponse(_shown(found), 200 if found.state == "done" else 202)


@router.get("/v1/erasures/{erasure_id}", responses=refusals(404))
async def get_erasure(request: Request, erasure_id: StoredId, _: Erasing) -> dict[str, Any]:
    """How far an erasure is; its receipt when it is done."""
    return _shown(await anyio.to_thread.run_sync(services_of(request).erasures.find, erasure_id))


def _erase(services: Services, customer_id: str, policy: ErasurePolicy | None) -> Erasure:
    erasure_id = services.erasures.begin_customer(customer_id, policy)
    return services.erasures.run(erasure_id)


def _shown(erasure: Erasure) -> dict[str, Any]:
    return {
        "id": erasure.id,
        "object": "erasure",
        "state": erasure.state,
        "problem": erasure.problem,
        "receipt": erasure.receipt,
    }
