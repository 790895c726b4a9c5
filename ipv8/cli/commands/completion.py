"""``ipv8 completion``."""

from __future__ import annotations

import click

from ..framework import COMPLETION_VARIABLE, Command

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command, short_help="Let the shell complete commands.", examples=(
    ('eval "$(ipv8 completion bash)"', "for bash, as a line in ~/.bashrc"),
    ('eval "$(ipv8 completion zsh)"', "for zsh, as a line in ~/.zshrc, after compinit"),
    ("ipv8 completion fish > ~/.config/fish/completions/ipv8.fish", "for fish, once"),
))
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script for SHELL, which is bash, zsh or fish.

    It lets the Tab key complete commands, options and the names of files. The command 'ipv8' must be found in the
    search path.
    """
    from click.shell_completion import get_completion_class

    known = get_completion_class(shell)
    assert known is not None, "click knows these shells"
    root = click.get_current_context().find_root().command
    click.echo(known(root, {}, "ipv8", COMPLETION_VARIABLE).source(), nl=False)
