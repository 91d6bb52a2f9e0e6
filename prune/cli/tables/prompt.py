"""Tables of a prompt's roles for the terminal: the prompt part by part, and a legend."""

from rich.table import Table
from rich.text import Text

from prune.cli.console import inert
from prune.layout.role import Role
from prune.workflows.prompt import PromptPart, RolesOfPrompt

_ROLES = {
    Role.SYSTEM: ("white", "text before the first video"),
    Role.HISTORY: ("bright_black", "turns before the last question"),
    Role.VIDEO: ("blue", "video, by frame"),
    Role.TIMESTAMP: ("cyan", "text that announces a frame"),
    Role.IMAGE: ("bright_blue", "images"),
    Role.BRIDGE: ("yellow", "text between video and question"),
    Role.QUESTION: ("green", "the question"),
    Role.OPTIONS: ("magenta", "its options"),
    Role.TAIL: ("bright_yellow", "text behind them, up to the last token"),
    Role.LAST: ("red", "the token that predicts the answer"),
    Role.ANSWER: ("bright_red", "the reply"),
}
"""Colour and meaning of each role, in the order of a prompt."""


def prompt_table(prompt: RolesOfPrompt) -> Table:
    """The prompt, one row per part, in the colour of its role.

    Its text is shown literally: markup means nothing, and what a terminal would obey is escaped.
    """
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("role", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("text", overflow="fold")
    for part in prompt.parts:
        style = "" if part.role is None else _ROLES[part.role][0]
        table.add_row(Text(_name(part), style), str(part.tokens), Text(inert(part.text), style))
    return table


def legend_table(prompt: RolesOfPrompt) -> Table:
    """The roles of the prompt: their colours, tokens and meaning."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("role")
    table.add_column("tokens", justify="right")
    table.add_column("meaning")
    for role, (style, meaning) in _ROLES.items():
        if count := prompt.tokens(role):
            table.add_row(Text(role.name.lower(), style), str(count), meaning)
    return table


def _name(part: PromptPart) -> str:
    if part.role is None:
        return "unknown"
    index = part.frame if part.frame >= 0 else part.option
    return part.role.name.lower() + (f" {index + 1}" if index >= 0 else "")
