"""What all commands have in common: examples in the help, one form of error messages, suggestions for typing errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .status import print_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["COMPLETION_VARIABLE", "SETTINGS", "Command", "Group", "parse", "show_usage_error"]

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of the context of every command that can be started."""

COMPLETION_VARIABLE = "_IPV8_COMPLETE"
"""The shell sets this variable to ask for completions (doc/command_line.md)."""

Examples = tuple[tuple[str, str], ...]


class Command(click.Command):
    """A command whose help ends with examples.

    :param examples: pairs of a command line and what it does. The tests check that each command line is valid.
    """

    def __init__(self, *args: Any, examples: Examples = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        _write_examples(self.examples, formatter)


class Group(click.Group):
    """A command with commands of its own; see :class:`Command` for the examples."""

    command_class = Command

    def __init__(self, *args: Any, examples: Examples = (), **kwargs: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **kwargs})
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        _write_examples(self.examples, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """The commands in the order in which they were added, which is the order of the help."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without any arguments, show the help on the error output."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context,
                        args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments start with."""
        name = str(args[0])
        if not ctx.resilient_parsing and name not in self.commands and not name.startswith("-"):
            from ..configuration import did_you_mean

            raise click.UsageError(f"there is no command {name!r}{did_you_mean(name, self.commands)}", ctx)
        return super().resolve_command(ctx, args)


def _write_examples(examples: Examples, formatter: click.HelpFormatter) -> None:
    if examples:
        with formatter.section("Examples"):
            for line, meaning in examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
                formatter.indent()
                formatter.write_text(meaning)
                formatter.dedent()


def parse(command: click.Command, name: str, argv: Sequence[str]) -> dict[str, Any]:
    """The parameters of a command by name, for programs that run it themselves.

    Errors, and the end after ``--help``, are exceptions of click, which :func:`ipv8.cli.status.status_of` knows.
    """
    with command.make_context(name, list(argv), **SETTINGS) as ctx:  # type: ignore[arg-type]  # of several types
        return dict(ctx.params)


def show_usage_error(error: click.ClickException, name: str) -> None:
    """Print what is wrong with the arguments, and where to read about them."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = name if ctx is None else ctx.command_path
    hint = _hint(error, ctx) if isinstance(error, click.NoSuchOption) and ctx is not None else ""
    print_error(f"{path}: {error.format_message()}{hint}\nSee '{path} --help'.")


def _options(command: click.Command) -> Iterable[str]:
    return (name for parameter in command.params if isinstance(parameter, click.Option)
            for name in (*parameter.opts, *parameter.secondary_opts))


def _hint(error: click.NoSuchOption, ctx: click.Context) -> str:
    """Where an option belongs that a command does not have; empty if that is not known."""
    name = error.option_name
    parent = ctx.parent
    while parent is not None:
        if name in _options(parent.command):
            return f" It is an option of '{parent.command_path}': give it in front of {ctx.info_name!r}."
        parent = parent.parent
    if isinstance(ctx.command, click.Group):
        having = [other for other, command in ctx.command.commands.items() if name in _options(command)]
        if having:
            return f" It is an option of {', '.join(having)}: give it after the command."
    elif not error.possibilities and any(isinstance(parameter, click.Argument) for parameter in ctx.command.params):
        return " If it is a value that begins with a dash, put -- in front of it."
    return ""
