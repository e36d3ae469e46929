"""Placeholder while the pages are being written."""

from fastapi import APIRouter

router = APIRouter()
