"""`shoptalk serve`: runs the API in this process."""

from __future__ import annotations

import typer

from shoptalk.settings import load_settings


def add(app: typer.Typer) -> None:
    app.command()(serve)


def serve() -> None:
    """Run the API alone."""
    import uvicorn

    from shoptalk import logs
    from shoptalk.app.api import build_api, build_protocol
    from shoptalk.app.engines import examine_vllm
    from shoptalk.processes.memory import keep_large_apart
    from shoptalk.processes.supervisor import allow_open_files, check_port

    keep_large_apart()
    logs.configure()
    settings = load_settings()
    check_port(settings)
    if settings.engine == "vllm":
        examine_vllm(settings, settings.vllm_wait_s)  # here, so that what is wrong is one line and no traceback
    app = build_api(settings)
    allow_open_files()
    # whether a proxy's headers count is decided by SHOPTALK_TRUSTED_PROXIES, not by uvicorn
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        http=build_protocol(settings),
    )
