"""The size of a demo, and the settings that follow from it. Starts nothing."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoptalk.processes.sockets import free_port
from shoptalk.settings import Settings, load_settings

FIRST_SHARE = 0.75  # of a small file's conversations come before the first round


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a demo. `QUICK` shows the same in a fraction of the time, with less proof."""

    chats: int = 440  # conversations before the first round
    second_turns: int = 12  # every 12th of them goes on for a second exchange
    meanwhile: int = 150  # conversations that may arrive while the round trains
    window: int = 110  # conversations in a look for drift
    new_topic: int = 110  # conversations of the new topic, which fill one
    swap_requests: int = 240
    reply_tokens: int = 44
    train_steps: int = 34
    train_batch: int = 8
    mark_steps: int = 30
    mark_batch: int = 4
    holdout_share: float = 0.3
    least_examples: int = 50

    @property
    def least_conversations(self) -> int:
        """The number of conversations of which enough are held out even if a tenth of the labels are useless."""
        return math.ceil(1.1 * self.least_examples / self.holdout_share / FIRST_SHARE)


QUICK = Plan(
    chats=120, meanwhile=50, window=40, new_topic=40, swap_requests=40, reply_tokens=24, train_steps=40,
    train_batch=4, mark_steps=20, mark_batch=2, least_examples=30,
)  # fmt: skip


def settings_for(base: Settings, home: Path, plan: Plan) -> tuple[Settings, dict[str, str]]:
    """Return this run's settings, and the same as environment variables for the processes it starts."""
    values: dict[str, Any] = {
        "home": home,
        "models": base.models_path,
        "database_url": f"sqlite:///{home.absolute() / 'shoptalk.db'}",
        "jobs_database_url": f"sqlite:///{home.absolute() / 'jobs.db'}",
        "artifacts_url": str(home.absolute() / "artifacts"),
        "host": "127.0.0.1",
        "port": (port := free_port(base.port)),
        "api_url": f"http://127.0.0.1:{port}",
        "engine": "embedded",
        "worker_port": 0,
        "auto_promote": True,
        "label_studio_url": f"http://127.0.0.1:{free_port(8081)}",
        "sample_size": plan.chats + plan.chats // plan.second_turns + 1,
        "labels_wanted": int(0.9 * plan.chats),
        "holdout_share": plan.holdout_share,
        "train_steps": plan.train_steps,
        "train_batch": plan.train_batch,
        "drift_window": plan.window,
        "drift_check_s": 1e6,  # the demo asks for the checks, so that both show
        "gate_min_examples": plan.least_examples,
        "max_queue": 128,
    }
    environment = {f"SHOPTALK_{k.upper()}": str(v) for k, v in values.items()}
    os.environ.pop("SHOPTALK_LABEL_STUDIO_TOKEN", None)  # the demo's Label Studio has a token of its own
    return load_settings(**values), environment
