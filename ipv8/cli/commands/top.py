"""``ipv8 top``."""

from __future__ import annotations

import click

from ..framework import Command
from ..options import FilePath, Seconds, ValueType, json_option

__all__ = ["top"]

LONGEST_INTERVAL = 3600.0
DEFAULT_URL = "http://127.0.0.1:8085"


class _Url(ValueType):
    """The address of a REST API; ``http://`` may be left out."""

    name = "url"

    def read(self, text: str) -> str:
        """The address without a path."""
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, or an address in brackets that is none
            is_valid = False
        if not is_valid or parts.username is not None or not text.isprintable() or " " in text:
            raise ValueError(f"{text!r:.80} is no address of a REST API, such as {DEFAULT_URL}")
        return f"{parts.scheme}://{parts.netloc}"


@click.command(cls=Command, short_help="Watch a running node.", examples=(
    ("ipv8 top", "watch the node of this machine that serves at port 8085"),
    ("ipv8 top http://127.0.0.1:8086 --interval 5", "watch another one, and look every five seconds"),
    ("ipv8 top https://node.example.org:8085 --key-file rest.key --ca-file node.pem", "watch one on another machine"),
    ("ipv8 top --once", "print how the node is, once"),
    ("ipv8 top --json", "the same for a program"),
))
@click.argument("url", type=_Url(), default=DEFAULT_URL, metavar="[URL]")
@click.option("--key-file", type=FilePath("the API key", exists=True, may_be_pipe=True),
              help="The file with the API key of the node. A node that made its key itself keeps it in rest.key.")
@click.option("--ca-file", type=FilePath("a certificate", exists=True),
              help="Trust this certificate (PEM), for nodes that prove themselves with one of their own.")
@click.option("--once", is_flag=True, help="Print how the node is, once. This is also done if there is no terminal.")
@click.option("--interval", type=Seconds(LONGEST_INTERVAL), default=2.0, show_default=True,
              help="Seconds between two looks. With --json, give it to get a line for each look.")
@json_option
def top(url: str, key_file: str | None, ca_file: str | None, once: bool, interval: float, as_json: bool) -> int:
    """Watch a running node in the terminal: its health, peers, traffic, messages, circuits and tables.

    URL is the address of the REST API of the node, which 'ipv8 run' prints when it starts. An API key is read from
    --key-file, or else from the environment variable IPV8_API_KEY.

    The keys q and Esc end it. The exit status is 1 if no node answers, or if it stops meanwhile.
    """
    import asyncio
    import os

    from ...REST.key_file import read_key
    from .. import top as library

    context = click.get_current_context()
    keeps_on = not once and (not as_json
                             or context.get_parameter_source("interval") is click.core.ParameterSource.COMMANDLINE)
    api_key = os.environ.get("IPV8_API_KEY") if key_file is None else read_key(key_file)
    options = library.TopOptions(url, api_key or None, ca_file, interval if keeps_on else None, as_json)
    return asyncio.run(library.watch(options))
