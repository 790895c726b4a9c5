"""A plugin of pytest for the test suites of SOCKS clients: they get our proxies in place of their SOCKS5 servers."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any


def pytest_configure(config: Any) -> None:
    """Replace the servers of the suite in the current directory."""
    del config
    if find_spec("tests.proxy_server") is not None:
        servers: Any = import_module("tests.proxy_server")

        class OtherServers(servers.ProxyServer):  # type: ignore[misc]  # of another package
            """All servers but those of SOCKS5."""

            def __init__(self, config: Any) -> None:
                super().__init__([one for one in config if one.proxy_type != "socks5"])

        fixtures: Any = import_module("tests.conftest")
        servers.ProxyServer = fixtures.ProxyServer = OtherServers
