"""A group of commands whose help lists them by purpose."""

from __future__ import annotations

import click

PURPOSES = {
    "Look": ("plan", "data", "list", "docs", "doctor"),
    "Run": ("start", "run", "work", "watch"),
    "Report": ("report", "results", "compare", "export"),
    "Store": ("store", "merge", "sync"),
    "Extend": ("new", "check", "plugins"),
}


class GroupedCommands(click.Group):
    """Lists its commands under the headings of `PURPOSES`, each with the whole first sentence of its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        named = [name for names in PURPOSES.values() for name in names if name in self.commands]
        return [*named, *sorted(set(self.commands) - set(named))]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        named = {name for each in PURPOSES.values() for name in each}
        for purpose, members in {**PURPOSES, "Other": tuple(sorted(set(names) - named))}.items():
            rows = [(name, self.commands[name].get_short_help_str(limit=200)) for name in members if name in names]
            if rows:
                with formatter.section(purpose):
                    formatter.write_dl(rows)
