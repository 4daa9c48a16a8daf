"""Groups of commands that are commands, too."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class WithArguments(TyperGroup):
    """`backup DIR` is the group's own; `backup install DIR` is of a command in it, whose name is no DIR."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        below = bool(args) and args[0] in self.commands
        ctx.allow_interspersed_args = not below
        own = self.params
        if below:
            self.params = [one for one in own if one.param_type_name != "argument"]
        try:
            return super().parse_args(ctx, args)
        finally:
            self.params = own
