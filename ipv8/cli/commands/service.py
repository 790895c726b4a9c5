"""The options of ``python -m ipv8_service`` and ``scripts/ipv8_plugin.py``, as in other implementations."""

from __future__ import annotations

import click

from ..framework import Command
from ..options import TEXT, FilePath

__all__ = ["service"]


@click.command(cls=Command, examples=(
    ("python -m ipv8_service", "run a node with the default configuration until Ctrl+C"),
    ("python -m ipv8_service --no-rest-api", "without an HTTP interface"),
))
@click.option("-s", "--statistics", is_flag=True, help="Count the messages of each overlay.")
@click.option("-a", "--no-rest-api", is_flag=True, help="Do not start the HTTP interface.")
@click.option("-k", "--api-key", type=TEXT, envvar="IPV8_API_KEY", show_envvar=True,
              help="The key that HTTP clients need.")
@click.option("-c", "--cert-file", type=FilePath("certificate and private key", exists=True),
              help="Certificate and private key (PEM): speak HTTPS.")
def service() -> None:
    """Run a node with the default configuration. 'ipv8 run' can do more."""
