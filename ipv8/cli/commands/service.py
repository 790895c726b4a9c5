"""The options of ``python -m ipv8_service`` and ``scripts/ipv8_plugin.py``, as in other implementations."""

from __future__ import annotations

import click

from ..framework import Command
from ..options import TEXT, FilePath

__all__ = ["service"]


@click.command(cls=Command, examples=(
    ("python -m ipv8_service --no-rest-api", "run a node with the default configuration until Ctrl+C"),
))
@click.option("-s", "--statistics", is_flag=True, help="Count the messages of each overlay.")
@click.option("-a", "--no-rest-api", is_flag=True, help="Accepted for compatibility.")
@click.option("-k", "--api-key", type=TEXT, help="Accepted for compatibility: belongs to the REST API.")
@click.option("-c", "--cert-file", type=FilePath("certificate and private key", exists=True),
              help="Accepted for compatibility: belongs to the REST API.")
def service() -> None:
    """Run a node with the default configuration. 'ipv8 run' can do more."""
