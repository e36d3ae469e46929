"""GET /: the customer's chat page. It gives visitors a session; everything else happens over the public API."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from chatbot.api.auth import known_visitor, visitor_session
from chatbot.api.limits.admission import admission_of
from chatbot.api.services import ServicesDep
from chatbot.api.sessions import COOKIE
from chatbot.console.render import page
from shoptalk.errors import NotFound

router = APIRouter()


@router.get("/")
async def chat_page(request: Request, services: ServicesDep) -> HTMLResponse:
    """Show the page, and set a visitor's cookie unless there is one that is still valid."""
    if not services.settings.web_chat:
        raise NotFound("The chat page is switched off (SHOPTALK_WEB_CHAT).")
    response = page("chat.html", shop=services.settings.shop_name, model=services.settings.model_alias)
    if not known_visitor(services, request.cookies.get(COOKIE)):
        await services.limits.admit_session(admission_of(request))
        response.set_cookie(
            COOKIE,
            visitor_session(services),
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return response
