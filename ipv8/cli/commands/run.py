"""``ipv8 run``."""

from __future__ import annotations

import click

from ..config_files import FORMATS
from ..framework import Command
from ..options import HOST_NAME, IPV4, LOG_LEVEL, PORT, SERVER, TEXT, FilePath, TreePath, json_option, option_error

__all__ = ["run"]


@click.command(cls=Command, examples=(
    ("ipv8 run", "run a node with the overlays of the library"),
    ("ipv8 run my_module:MyCommunity", "run an overlay of yours, from my_module.py in the current directory"),
    ("ipv8 run my_module:MyCommunity --bootstrap tracker.example.org:6421", "find peers by a tracker of your own"),
    ("ipv8 run --print-config --format toml > node.toml", "write down the configuration, to edit it"),
    ("ipv8 run --config node.toml", "run a node with it"),
))
@click.argument("overlays", nargs=-1, type=TEXT, metavar="[MODULE:CLASS]...")
@click.option("--config", type=FilePath("a configuration", exists=True, may_be_pipe=True),
              help="A configuration instead of the default one: TOML, YAML or JSON, by the ending of the name. Its "
                   "overlays may be called MODULE:CLASS.")
@click.option("--print-config", is_flag=True, help="Print the configuration that would be used, and exit.")
@click.option("--format", "form", type=click.Choice(FORMATS),
              help="The format of --print-config; by default that of the file given by --config, else json.")
@click.option("--bootstrap", type=SERVER, multiple=True,
              help="Ask this server for first peers, instead of the public ones; may be given again.")
@click.option("--listen-address", type=IPV4, help="The IPv4 address to listen on.")
@click.option("-p", "--port", type=PORT, help="The UDP port to listen on, or the next free one.")
@click.option("--key-file", type=FilePath("the key of the node"),
              help="The only key of the node, made if missing. By default it is kept where the platform keeps data of "
                   "programs; the log says where.")
@click.option("--peers", type=TreePath("good peers"),
              help="Store good peers here, and contact them first at the next start.")
@click.option("--trust", type=FilePath("statements", exists=True),
              help="Use the statements of 'ipv8 trust' in this file; without --config, those in the default file.")
@click.option("--log-level", type=LOG_LEVEL, help="CRITICAL, ERROR, WARNING, INFO (default) or DEBUG.")
@click.option("-s", "--statistics", is_flag=True, help="Count the messages of each overlay.")
@click.option("-a", "--no-rest-api", is_flag=True, help="Do not start the HTTP interface.")
@click.option("--api-port", type=PORT, help="The TCP port of the HTTP interface; by default the first free one from "
                                            "8085 on.")
@click.option("--api-address", type=IPV4, default="127.0.0.1", show_default=True,
              help="The IPv4 address that the HTTP interface listens on. For others than those of this machine, it has "
                   "a key: without --api-key, one is made and kept in the file rest.key in the working directory.")
@click.option("--api-name", "api_names", type=HOST_NAME, multiple=True,
              help="A name of this machine by which clients ask for the HTTP interface; may be given again. Its "
                   "address and localhost are known.")
@click.option("-k", "--api-key", type=TEXT, envvar="IPV8_API_KEY", show_envvar=True,
              help="The key that HTTP clients need. Other users of this machine see arguments: better set the "
                   "environment variable.")
@click.option("-c", "--cert-file", type=FilePath("certificate and private key", exists=True),
              help="Certificate and private key (PEM): speak HTTPS.")
@click.option("--metrics-without-key", is_flag=True,
              help="Let everybody who reaches the HTTP interface read /metrics, as for Prometheus.")
@json_option
def run(overlays: tuple[str, ...], config: str | None, print_config: bool, form: str | None,
        bootstrap: tuple[tuple[str, int], ...], listen_address: str | None, port: int | None, key_file: str | None,
        peers: str | None, trust: str | None, log_level: str | None, statistics: bool, no_rest_api: bool,
        api_port: int | None, api_address: str, api_names: tuple[str, ...], api_key: str | None,
        cert_file: str | None, metrics_without_key: bool, as_json: bool) -> None:
    """Run a node until Ctrl+C or SIGTERM.

    Without arguments the node runs the overlays of the library. With MODULE:CLASS it runs these overlays instead, each
    with a random walk; with --config as well, it runs them together with those of the configuration.

    The log says where its dashboard is, a page that shows the node in a browser of this machine. Programs see and steer
    the node by HTTP there.

    The log goes to the error output. With --json, a line is printed when the node has started, with its addresses,
    keys and overlays, and one when it has stopped. The exit status is 0 after a clean stop.
    """
    import asyncio

    from ...configuration import complete_configuration, validate_configuration
    from .. import service
    from ..config_files import format_of, naming_file, write_configuration
    from ..node import NodeOptions, configure

    if form is not None and not print_config:
        option_error(click.get_current_context(), "--format", "needs --print-config, whose output it is about")
    options = NodeOptions(overlays, config, bootstrap, listen_address, port, key_file, peers, log_level, trust)
    with naming_file(config):
        configuration, classes = configure(options, make_directories=not print_config)
        if print_config:
            validate_configuration(complete_configuration(configuration), bootstrappers=None)
            click.echo(write_configuration(configuration, form or format_of(config or "")), nl=False)
            return
        node = service.IPV8Service(configuration, classes)
        asyncio.run(service.serve(node, statistics, no_rest_api=no_rest_api, api_key=api_key, cert_file=cert_file,
                                  api_port=api_port, api_address=api_address, api_names=api_names, as_json=as_json,
                                  metrics_without_key=metrics_without_key, bootstrap=bootstrap))
