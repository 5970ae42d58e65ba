"""The screen of `madang monit`: a table of instances, a line of status, the logs of what is chosen.

Questions and files are read in threads, so keys are never held up by a slow supervisor or disk. If
the supervisor goes away the screen says so, and goes on when it is back.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, RichLog, Static

from madang.cli.asking import ask, begin, follow, outcome
from madang.cli.monit_view import COLUMNS, Rates, cells, problems, summary
from madang.cli.place import CONTROL, runtime_dir
from madang.cluster import logs
from madang.cluster.logs import Follower, LogLine, LogQuery
from madang.core.errors import MadangError

LOOK_S = 1.0
LOGS_S = 0.3
LINES_FIRST = 100
LINES_MAX = 2_000


class Question(ModalScreen[bool]):
    """Asks whether something is meant."""

    CSS = """
    Question { align: center middle; }
    Question Vertical { width: auto; height: auto; padding: 1 2; border: round $warning; }
    Question Static { width: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "answer(True)", "yes"),
        ("n,escape,q", "answer(False)", "no"),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Show the question."""
        with Vertical():
            yield Static(f"{self._text}?  y / n", markup=False)

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        _ = self.dismiss(yes)


class Monitor(App[None]):
    """The screen."""

    CSS = """
    #summary, #status { height: 1; padding: 0 1; }
    #summary { text-style: bold; }
    #status { color: $warning; }
    #instances { height: 1fr; }
    #logs { height: 1fr; border-top: solid $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("r", "operate('reload')", "reload"),
        ("t", "operate('restart')", "restart"),
        ("plus,equals_sign", "scale('+1')", "one more"),
        ("minus", "scale('-1')", "one fewer"),
        ("a", "all_logs", "all logs"),
        ("q", "quit", "quit"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, state_dir: Path) -> None:
        super().__init__()
        self._path = runtime_dir(state_dir) / CONTROL
        self._folder = state_dir / "logs"
        self._rows: list[dict[str, Any]] = []
        self._rates = Rates()
        self._chosen = ""
        self._all = False
        self._follower: Follower | None = None
        self._busy = False

    def compose(self) -> ComposeResult:
        """Lay the parts out from top to bottom."""
        yield Static("", id="summary", markup=False)
        yield DataTable(id="instances", cursor_type="row", cell_padding=0)
        yield Static("", id="status", markup=False)
        yield RichLog(id="logs", max_lines=LINES_MAX, markup=False, highlight=False)
        yield Footer()

    async def on_mount(self) -> None:
        """Begin to look, now and then."""
        table = self._table()
        for name, width in COLUMNS:
            table.add_column(name, width=width, key=name)
        table.focus()
        self.set_interval(LOOK_S, self.look)
        self.set_interval(LOGS_S, self.look_at_logs)
        await self.look()

    def _table(self) -> DataTable[str]:
        return self.query_one("#instances", DataTable)

    def _say(self, text: str) -> None:
        self.query_one("#status", Static).update(text)

    async def look(self) -> None:
        """Show what runs at this moment."""
        try:
            answer = await asyncio.to_thread(ask, self._path, "ls")
        except MadangError as error:
            self._say(error.message)
            return
        if not self.is_running:
            return
        rates = self._rates.update(answer["rows"], time.monotonic())
        self._fill(answer["rows"], rates)
        self.query_one("#summary", Static).update(summary(answer, rates))
        if not self._busy:
            self._say(problems(answer))

    def _fill(self, rows: list[dict[str, Any]], rates: dict[str, float]) -> None:
        """Change the cells in place while the instances are the same, so the cursor stays."""
        table = self._table()
        keys = [f"{row['name']}/{row['generation']}" for row in rows]
        before = [f"{row['name']}/{row['generation']}" for row in self._rows]
        self._rows = rows
        texts = [cells(row, rates.get(row["name"])) for row in rows]
        if keys != before:
            at = table.cursor_row
            table.clear()
            for key, text in zip(keys, texts, strict=True):
                table.add_row(*text, key=key)
            table.move_cursor(row=min(at, max(0, len(rows) - 1)))
        else:
            for key, text in zip(keys, texts, strict=True):
                for (column, _), value in zip(COLUMNS, text, strict=True):
                    table.update_cell(key, column, value)
        self._choose()

    def on_data_table_row_highlighted(self) -> None:
        """Follow the logs of the row that the cursor is on."""
        self._choose()

    def action_all_logs(self) -> None:
        """Show the logs of everybody, or again of one."""
        self._all = not self._all
        self._chosen = ""
        self._choose()

    def _row(self) -> dict[str, Any] | None:
        at = self._table().cursor_row
        return self._rows[at] if 0 <= at < len(self._rows) else None

    def _choose(self) -> None:
        row = self._row()
        wanted = "*" if self._all else str(row["name"]) if row else ""
        if wanted and wanted != self._chosen:
            self._chosen = wanted
            self._follower = None

    async def look_at_logs(self) -> None:
        """Append what was said since the last look."""
        chosen = self._chosen
        if not chosen:
            return
        try:
            fresh, lines = await asyncio.to_thread(self._read_logs, chosen)
        except OSError as error:
            self._say(f"the logs cannot be read: {error.strerror}")
            return
        if chosen != self._chosen or not self.is_running:
            return
        view = self.query_one("#logs", RichLog)
        if fresh:
            view.clear()
            view.border_title = "all logs" if chosen == "*" else chosen
        for line in lines:
            view.write(f"{line.at[11:19]} {line.instance} | {line.text}")

    def _read_logs(self, chosen: str) -> tuple[bool, list[LogLine]]:
        """Return whether another application is read than before, and its new lines."""
        if self._follower is not None:
            return False, self._follower.look()
        names = frozenset() if chosen == "*" else frozenset({chosen})
        query = LogQuery(names, "", LINES_FIRST)
        follower = Follower(self._folder, query)
        follower.begin()
        lines = logs.recent(self._folder, query)
        if chosen == self._chosen:
            self._follower = follower
        return True, lines

    def action_operate(self, command: str) -> None:
        """Reload or restart what the cursor is on, once that is confirmed."""
        row = self._row()
        if row is not None:
            name = row["app"] if command == "reload" else row["name"]
            self._confirm(f"{command} {name}", command, {"name": name})

    def action_scale(self, word: str) -> None:
        """Have one instance more or fewer of what the cursor is on."""
        row = self._row()
        if row is not None:
            text = f"scale {row['app']} {word}"
            self._confirm(text, "scale", {"name": row["app"], "instances": word})

    def _confirm(self, text: str, command: str, question: dict[str, str]) -> None:
        def decided(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._carry_out(command, question))

        _ = self.push_screen(Question(text), decided)

    async def _carry_out(self, command: str, question: dict[str, str]) -> None:
        """Do it, with its progress in the line of status."""

        def say(text: str) -> None:
            self.call_from_thread(self._say, text.strip())

        def work() -> str:
            return outcome(follow(self._path, begin(self._path, command, **question), say))

        self._busy = True
        try:
            self._say(await asyncio.to_thread(work))
        except MadangError as error:
            self._say(error.message)
        await self.look()
        await asyncio.sleep(LOOK_S)  # long enough to be read
        self._busy = False
