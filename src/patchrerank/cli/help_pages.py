"""Help pages in plain text: commands in groups, options in sections, an example at the end.

Brackets and colons in a help text are text, so nothing here reads markup.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

OTHERS = "Options"
LAST = "Result"


class SectionedCommand(TyperCommand):
    """A command whose options are listed by the section that each names (``rich_help_panel``)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options of no section, the sections in their order; the result last."""
        sections: dict[str, list[Any]] = {"Arguments": [], OTHERS: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            panel = getattr(parameter, "rich_help_panel", None)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else panel or OTHERS
                sections.setdefault(kind, []).append(record)
        for title, records in sorted(sections.items(), key=lambda item: item[0] == LAST):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example as it is typed, however long."""
        if self.epilog:
            with formatter.section("Example"):
                formatter.write(f"{' ' * formatter.current_indent}{self.epilog}\n")


class CommandsInGroups(TyperGroup):
    """The commands, listed by the group that each names (``rich_help_panel``)."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the groups in the order of their first commands."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            groups.setdefault(command.rich_help_panel, []).append((name, command.short_help))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)
