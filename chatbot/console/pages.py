"""All routes of the pages, for the application to include. Adds nothing of its own."""

from __future__ import annotations

from fastapi import APIRouter

from chatbot.console import api_docs, assets, chat_page, dashboard, sign_in

router = APIRouter(include_in_schema=False)
for module in (assets, chat_page, sign_in, dashboard, api_docs):
    router.include_router(module.router)
