"""The board drawn as text of a width and height: machines down, chapters across, what each has taken and does."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from hardway.console.board import Board, Item, Row
from hardway.console.words import clock, counted, size
from hardway.events import State

STYLES: dict[State, str] = {
    "waiting": "bright_black",
    "running": "bold cyan",
    "done": "green",
    "unchanged": "bright_black",
    "failed": "bold red",
}
_MARKS: dict[State, str] = {"waiting": "·", "running": "►", "done": "■", "unchanged": "─", "failed": "✗"}
_ASCII: dict[State, str] = {"waiting": ".", "running": ">", "done": "#", "unchanged": "-", "failed": "x"}
_MEANING: tuple[tuple[State, str], ...] = (
    ("done", "done"),
    ("running", "at work"),
    ("unchanged", "nothing to do"),
    ("waiting", "to come"),
    ("failed", "failed"),
)
_NAME_LIMIT, _DOING_LEAST = 24, 9
_SENT, _TIME = 8, 7
_ITEMS, _BAR = 4, 12


@dataclass(frozen=True)
class Layout:
    """Widths of the columns; 0: left out. `cell` is one chapter's; `named`: wide enough for their names."""

    name: int
    cell: int
    sent: int
    time: int
    doing: int
    named: bool

    @classmethod
    def of(cls, board: Board, width: int) -> Layout:
        """What is least needed goes first when it is narrow: what a machine does, bytes, time, numbers."""
        longest = max((len(name) for name in board.rows), default=0)
        name = min(max(longest, 8), _NAME_LIMIT, max(8, width // 4))
        count = len(board.phases)
        widest = max((len(phase) for phase in board.phases), default=0) + 2
        for cell in (widest, 3, 1):
            for sent, time, least in ((_SENT, _TIME, _DOING_LEAST), (_SENT, _TIME, 0), (0, _TIME, 0), (0, 0, 0)):
                rest = width - 1 - name - 1 - count * cell - sent - time - 2
                if rest >= least and (cell != widest or least):
                    return cls(name, cell, sent, time, max(rest, 0) if least else 0, cell == widest)
        return cls(name, 1, 0, 0, 0, False)


def draw(board: Board, width: int, height: int | None, now: float, *, ascii_only: bool = False) -> Text:
    """All of it; with a height, machines at work come first and the others may be only counted."""
    marks = _ASCII if ascii_only else _MARKS
    lines = _items(board, width, now, ascii_only) if board.items else []
    if board.rows:
        layout = Layout.of(board, width)
        above = [_title(board, width, now), Text(), _header(board, layout)]
        below = [Text(), *_legend(board, layout, width), _key(board, marks)] if board.phases else []
        room = None if height is None else max(3, height - len(above) - len(below) - len(lines) - 2)
        lines = above + _rows(board, layout, room, now, marks) + below + ([Text(), *lines] if lines else [])
    for line in lines:
        line.truncate(width - 1)
        line.rstrip()
    return Text("\n").join(lines)


def _title(board: Board, width: int, now: float) -> Text:
    ready = f"{counted(board.ready, 'file')} ready" if board.step == "artifacts" and board.ready else ""
    left = Text(" ").append(f"hardway {board.command}", "bold").append(f"  {board.cluster}", "bright_black")
    right = Text(ready or board.step, "cyan").append(f"  {clock(now - board.began)}", "bold")
    return left.append(" " * max(2, width - 1 - left.cell_len - right.cell_len)).append_text(right)


def _header(board: Board, layout: Layout) -> Text:
    line = Text(" " * (layout.name + 2))
    for number, phase in enumerate(board.phases, 1):
        word = phase if layout.named else str(number) if layout.cell > 1 else ""
        line.append(
            f"{word:^{layout.cell}}" if layout.named else f"{word:>{layout.cell}}", STYLES[board.state_of(phase)]
        )
    line.append(f"{'SENT':>{layout.sent}}" if layout.sent else "", "bright_black")
    return line.append(f"{'BUSY':>{layout.time}}" if layout.time else "", "bright_black")


def _rows(board: Board, layout: Layout, room: int | None, now: float, marks: dict[State, str]) -> list[Text]:
    rows = list(board.rows.values())
    if room is None or len(rows) <= room:
        return [_row(board, row, layout, now, marks) for row in rows]
    chosen = sorted(rows, key=lambda row: (not row.failed, not row.doing))[: room - 1]
    rest = Text(f"  and {counted(len(rows) - len(chosen), 'more machine')}", "bright_black")
    return [*(_row(board, row, layout, now, marks) for row in rows if row in chosen), rest]


def _row(board: Board, row: Row, layout: Layout, now: float, marks: dict[State, str]) -> Text:
    style = "bold red" if row.failed else "bold" if row.doing else ""
    name = Text(row.name, style)
    name.truncate(layout.name, overflow="ellipsis", pad=True)
    line = Text(" ").append_text(name).append(" ")
    for phase in board.phases:
        state = row.cells.get(phase, "waiting")
        mark = f"{marks[state]:^{layout.cell}}" if layout.named else f"{marks[state]:>{layout.cell}}"
        line.append(mark, STYLES[state])
    if layout.sent:
        sent = board.sent.of(row.name)
        line.append(f"{size(sent) if sent else '':>{layout.sent}}")
    if layout.time:
        seconds = row.seconds(now)
        line.append(f"{clock(seconds) if seconds else '':>{layout.time}}")
    return line.append(f"  {_doing(board, row, now)}"[: layout.doing + 2] if layout.doing else "", "cyan")


def _doing(board: Board, row: Row, now: float) -> str:
    under_way = board.sent.under_way(row.name)
    if row.doing and under_way and board.step == "upload":
        rate = board.sent.rate(row.name, now)
        share = f"{row.doing} {under_way[0] * 100 // max(under_way[1], 1)} %"
        return share if rate is None else f"{share} {size(int(rate))}/s"
    return "failed" if row.failed and not row.doing else row.doing


def _legend(board: Board, layout: Layout, width: int) -> list[Text]:
    """Chapters by number, over as many lines as they need; none where the columns have their names."""
    lines: list[Text] = []
    for number, phase in enumerate(() if layout.named else board.phases, 1):
        word = Text(f"{number} ", "bright_black").append(phase, STYLES[board.state_of(phase)])
        if not lines or lines[-1].cell_len + 2 + word.cell_len > width - 1:
            lines.append(Text(" "))
        else:
            lines[-1].append("  ")
        lines[-1].append_text(word)
    return lines


def _key(board: Board, marks: dict[State, str]) -> Text:
    """What the marks mean; nobody needs to think of failure before there is one."""
    failed = any("failed" in row.cells.values() for row in board.rows.values())
    line = Text(" ")
    for state, meaning in _MEANING if failed else _MEANING[:-1]:
        line.append(f"{marks[state]} ", STYLES[state]).append(f"{meaning}   ", "bright_black")
    return line


def _items(board: Board, width: int, now: float, ascii_only: bool) -> list[Text]:
    items = list(board.items.values())
    lines = [_item(item, width, now, ascii_only) for item in items[:_ITEMS]]
    if len(items) > _ITEMS:
        lines.append(Text(f" and {len(items) - _ITEMS} more", "bright_black"))
    return lines


def _item(item: Item, width: int, now: float, ascii_only: bool) -> Text:
    line = Text(" ").append(f"{item.action:<9}", "cyan")
    name = Text(item.name)
    name.truncate(max(8, min(36, width - 51)), overflow="ellipsis", pad=True)
    line.append_text(name).append("  ")
    if item.action != "build" and item.total:
        full, empty = ("#", "-") if ascii_only else ("━", "─")
        filled = _BAR * item.done // item.total
        line.append(full * filled, "green").append(empty * (_BAR - filled), "bright_black")
        line.append(f"  {size(item.done)} of {size(item.total)}")
    elif item.action != "build":
        line.append(size(item.done))
    return line.append(f"  {clock(now - item.since)}", "bright_black")
