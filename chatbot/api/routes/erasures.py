"""The routes of erasure: everything a customer said is erased, and a receipt counts what was removed."""

from __future__ import annotations

from typing import Annotated, Literal

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Response

from chatbot.api.answers import ErasureAnswer
from chatbot.api.auth import require
from chatbot.api.caller import Caller
from chatbot.api.openapi import KEYED, answer, refusals
from chatbot.api.schemas import StoredId
from chatbot.api.services import Services, ServicesDep
from shoptalk.domain import Erasure, ErasurePolicy, Scope

router = APIRouter(tags=["erasure"], responses=refusals(*KEYED, 400))
Erasing = Annotated[Caller, require(Scope.ERASE)]
Policy = Annotated[Literal["now", "when_replaced"] | None, Query()]
Customer = Annotated[str, Path(min_length=1, max_length=512)]


@router.delete(
    "/v1/customers/{customer_id:path}",
    responses=answer(202, ErasureAnswer, "Erased; a worker cleans the database's files, and what cannot be done now."),
)
async def erase_customer(
    response: Response, services: ServicesDep, customer_id: Customer, _: Erasing, policy: Policy = None
) -> ErasureAnswer:
    """Erase a customer, named as requests name them in `user`. `policy` says when adapters trained on it leave service.

    What the customer sends afterwards, in new conversations, is new. The erasure is done, and has its receipt, when a
    worker has cleaned the database's files too.
    """
    found = await anyio.to_thread.run_sync(_erase, services, customer_id, policy)
    response.status_code = 200 if found.state == "done" else 202
    return ErasureAnswer.model_validate(found)


@router.get("/v1/erasures/{erasure_id}", responses=refusals(404))
async def get_erasure(services: ServicesDep, erasure_id: StoredId, _: Erasing) -> ErasureAnswer:
    """Return how far an erasure is, and its receipt when it is done."""
    return ErasureAnswer.model_validate(await anyio.to_thread.run_sync(services.erasures.find, erasure_id))


def _erase(services: Services, customer_id: str, policy: ErasurePolicy | None) -> Erasure:
    erasure_id = services.erasures.begin_customer(customer_id, policy)
    return services.erasures.run(erasure_id)
