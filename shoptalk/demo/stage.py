"""Shared by the demo's stages: the state of a run, narration on a terminal or in a log, and waiting for rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from shoptalk.app.parts import Parts
from shoptalk.clock import MACHINE
from shoptalk.demo.conversation import Recorded
from shoptalk.demo.plan import Plan
from shoptalk.errors import ShoptalkError
from shoptalk.processes.supervisor import Supervisor
from shoptalk.settings import Settings
from shoptalk.terminal import printable


@dataclass(slots=True)
class Demo:
    """The state of one run: its settings and conversations, the console, and numbers for the summary."""

    settings: Settings
    parts: Parts
    key: str
    console: Console
    recorded: Sequence[Recorded]
    later: Sequence[Recorded]
    news: Sequence[Recorded]
    plan: Plan
    seconds: dict[str, float] = field(default_factory=dict)
    errors: int = 0
    #: how many of `later` have chatted
    arrived: int = 0
    supervisor: Supervisor | None = None

    def check_children(self) -> None:
        """Raise ShoptalkError where the API or the worker ended."""
        if self.supervisor is not None:
            self.supervisor.check()

    @contextlib.contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Narrate and time a stage."""
        self.console.rule(f"[bold]{title}", align="left")
        began = MACHINE.monotonic()
        yield
        self.seconds[name] = round(MACHINE.monotonic() - began, 1)

    def say(self, text: str) -> None:
        """Print lines of the narration."""
        lines = map(printable, text.split("\n"))  # it may quote a reply or a file
        self.console.print("\n".join(lines), highlight=False, markup=False)

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Iterator[Any]:
        """Show a progress bar on a terminal, else a line every quarter.

        The block gets a function to call with how many more are done.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(title, total=total)
            quarters = 0

            def advance(n: int = 1, *, to: int | None = None, what: str = title) -> None:
                nonlocal quarters
                done = int(progress.tasks[0].completed) + n if to is None else to
                progress.update(task, completed=done, description=what)
                if not self.console.is_terminal and done * 4 // total > quarters:
                    quarters = done * 4 // total
                    self.say(f"{what}: {done} of {total}")

            yield advance

    def until(self, what: str, test: Any, timeout_s: float = 300.0) -> Any:
        """Poll the store until `test(conn)` is true, and return its value; raise ShoptalkError after `timeout_s`."""
        deadline = MACHINE.monotonic() + timeout_s
        while MACHINE.monotonic() < deadline:
            self.check_children()
            with self.parts.store.read() as conn:
                if value := test(conn):
                    return value
            MACHINE.sleep(0.2)
        raise ShoptalkError(f"waited {timeout_s:.0f} s in vain for {what}", fix=f"see {self.settings.home / 'logs'}")
