"""Progress on the terminal: a Rich bar with rows, rate, time left and reused rows; one line a step when it ends."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Terminal:
    """A `step.Progress` on stderr; bars only on a terminal, lines everywhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._done, self._start, self._unit = 0, 0.0, "rows"

    def begin(self, label: str, total: int, done: int = 0, unit: str = "rows") -> None:
        """Starts a bar of `total`; `done` were found in the journal."""
        self.end()
        self._done, self._start, self._unit = 0, time.monotonic(), unit
        if not self.console.is_terminal:
            return
        reused = f" ({done} from the journal)" if done else ""
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._bar = Progress(*columns, console=self.console, transient=True)
        self._task = self._bar.add_task(f"{label}{reused}", total=total, completed=done, rate="", figures="")
        self._bar.start()

    def advance(self, rows: int) -> None:
        """`rows` more are done."""
        self._done += rows
        if self._bar is not None and self._task is not None:
            rate = self._done / max(time.monotonic() - self._start, 1e-9)
            self._bar.update(self._task, advance=rows, rate=f"{rate:,.0f} {self._unit}/s")

    def figures(self, text: str) -> None:
        """`text` stands at the end of the bar until the next."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, figures=text)

    def note(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def end(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
