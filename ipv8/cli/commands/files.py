"""``ipv8 send`` and ``ipv8 fetch``."""

from __future__ import annotations

from string import hexdigits
from typing import Any

import click

from ..framework import Command
from ..options import MID, SERVER, Count, FilePath, Seconds, Text
from .node_options import node_options, split

__all__ = ["fetch", "send"]

LONGEST_WAIT = 86_400.0
ID_DIGITS = 64
MID_DIGITS = 40
EXAMPLE = "81e47a19e6b29b0a65b9591762ce5143ed30d0261e5d24a3201752506b20f15c"


class _BlobId(Text):
    """The id of a file."""

    name = "id"

    def read(self, text: str) -> bytes:
        """The 32 bytes."""
        if len(text) != ID_DIGITS or not set(text) <= set(hexdigits):
            raise ValueError(f"{text!r:.80} is no id: 'ipv8 send' prints one, of {ID_DIGITS} hex digits")
        return bytes.fromhex(text)


class _Source(Text):
    """A sender: its mid, or where it is."""

    name = "mid|host:port"

    def read(self, text: str) -> bytes | tuple[str, int]:
        """The mid, or host and port."""
        source: bytes | tuple[str, int] = (MID if len(text) == MID_DIGITS and ":" not in text else SERVER).read(text)
        return source


@click.command("send", cls=Command, short_help="Let others fetch a file, encrypted.", examples=(
    ("ipv8 send holiday.zip", "let others fetch a file"),
    ("ipv8 send holiday.zip --port 8090 --key-file me.pem", "with an address and a mid that stay the same"),
))
@click.argument("file", type=FilePath("what is to be sent", exists=True))
@node_options
def send(**parameters: Any) -> None:
    """Let others fetch FILE, encrypted, until this command is stopped.

    It prints the id of the file and the commands that fetch it. Whoever has the id and finds this machine can fetch
    the file, so give them to the receiver alone. It ends on Ctrl+C or SIGTERM, with exit status 0.
    """
    import asyncio

    from .. import files as library

    node, as_json, others = split(parameters)
    asyncio.run(library.send(node, others["file"], as_json))


@click.command("fetch", cls=Command, short_help="Fetch a file that 'ipv8 send' offers.", examples=(
    (f"ipv8 fetch {EXAMPLE} --from 192.0.2.1:8090", "fetch a file from a machine that can be reached"),
))
@click.argument("blob", metavar="ID", type=_BlobId())
@click.option("--from", "sources", type=_Source(), multiple=True, required=True,
              help="The sender: its mid, or its address; given again, the file is fetched from all of them at once.")
@click.option("-o", "--output", "destination", type=FilePath("what is fetched"),
              help="Where to write the file; by default its name is the id.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("--max-size", type=Count(), default=1 << 40, help="Fetch no file with more bytes.  [default: 1 TiB]")
@click.option("--wait", type=Seconds(LONGEST_WAIT), default=60.0, show_default=True,
              help="How many seconds to look for a sender before giving up.")
@node_options
def fetch(**parameters: Any) -> int:
    """Fetch the file with that ID, which 'ipv8 send' printed.

    What arrives is checked against the ID. If the command is stopped or killed, the same command goes on from there: it
    keeps what it has in a file that ends with '.part'. The exit status is 0 if the file is there, and 1 if it could
    not be fetched.
    """
    import asyncio
    import os

    from .. import files as library

    node, as_json, others = split(parameters)
    destination = others["destination"] or others["blob"].hex()
    if not others.pop("force") and os.path.lexists(destination):
        raise click.UsageError(f"{destination!r} exists: give another name with -o, or --force to replace it",
                               click.get_current_context())
    wanted = library.FetchOptions(**{**others, "destination": destination})
    return asyncio.run(library.fetch(node, wanted, as_json))
