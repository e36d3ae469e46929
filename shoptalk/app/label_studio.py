"""A local Label Studio built from Settings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shoptalk.app.parts import close_home
from shoptalk.settings import Settings

if TYPE_CHECKING:
    from labeling.label_studio.server import LabelStudioServer


def label_studio_server(settings: Settings) -> LabelStudioServer:
    """Return a local Label Studio for this data folder; entering it starts it."""
    from labeling.label_studio.server import LabelStudioServer

    close_home(settings.home)
    port = urlsplit(settings.label_studio_url).port or 8081
    template = settings.label_studio_venv / "template"
    return LabelStudioServer(settings.label_studio_venv, settings.home / "label-studio", port, template_dir=template)
