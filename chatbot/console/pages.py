"""All routes of the pages, for the application to include. Says nothing of its own."""

from __future__ import annotations

from fastapi import APIRouter

from chatbot.console import assets, chat_page, dashboard, sign_in

router = APIRouter(include_in_schema=False)
for module in (assets, chat_page, sign_in, dashboard):
    router.include_router(module.router)
