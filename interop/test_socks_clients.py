"""Stock clients use the SOCKS5 proxy, through circuits of three hops. The own tests of one of them pass against it."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from interop import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(400)]

HOPS = 3
SUITE_PORT, SUITE_PORT_WITHOUT_PASSWORD = 7780, 7781
"""The ports of the proxies that the suite expects."""
SUITE_NAMES = {"ip4.target.example.com": "127.0.0.1", "ip6.target.example.com": "::1", "localhost": "127.0.0.1"}
PASSWORDS = {"admin": "admin"}


@pytest.fixture(scope="session")
def clients() -> Path:
    """The virtual environment of the clients."""
    try:
        return environment.socks_clients()
    except environment.EnvironmentUnavailableError as e:
        if os.environ.get("IPV8_SKIP_INTEROP") == "1":
            pytest.skip(str(e))
        pytest.fail(str(e), pytrace=False)


@pytest.fixture
def start_proxies() -> Iterator[Callable[..., list[int]]]:
    """Start a network of tunnels with proxies; their ports."""
    started = []

    def start(*proxies: tuple[str, int, dict[str, str] | None]) -> list[int]:
        options = {"hops": HOPS, "proxies": proxies, "names": SUITE_NAMES}
        process = subprocess.Popen([sys.executable, "-m", "interop.nodes.socks_node", json.dumps(options)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=environment.ROOT)
        started.append(process)
        assert process.stdout is not None
        ports: list[int] = json.loads(process.stdout.readline())["ports"]
        return ports

    yield start
    for process in started:
        process.communicate(timeout=30)
        assert process.returncode == 0


@pytest.fixture
def page() -> Iterator[str]:
    """The URL of a page that contains its path."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.path)))
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/a-page"
        server.shutdown()
        thread.join()


def test_clients_fetch_a_page(clients: Path, start_proxies: Callable[..., list[int]], page: str) -> None:
    (port,) = start_proxies(("127.0.0.1", 0, None))
    done = subprocess.run([str(clients / "bin" / "python"), "-m", "interop.nodes.socks_clients", str(port), page],
                          cwd=environment.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == dict.fromkeys(
        ("by_pysocks", "by_requests", "by_httpx", "by_python_socks", "by_aiohttp_socks"), "/a-page")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_fetches_a_page(start_proxies: Callable[..., list[int]], page: str) -> None:
    (port,) = start_proxies(("127.0.0.1", 0, None))
    done = subprocess.run(["curl", "--silent", "--fail", "--socks5-hostname", f"127.0.0.1:{port}", page],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "/a-page"


@pytest.mark.usefixtures("ipv6")
def test_the_suite_of_python_socks(clients: Path, start_proxies: Callable[..., list[int]]) -> None:
    start_proxies(("127.0.0.1", SUITE_PORT, PASSWORDS), ("127.0.0.1", SUITE_PORT_WITHOUT_PASSWORD, None),
                  ("::1", SUITE_PORT, PASSWORDS))
    done = subprocess.run(
        [str(clients / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "-p", "interop.nodes.socks_plugin", "-k", "socks5 or chain", "tests"],
        cwd=clients / "suite", env={**os.environ, "PYTHONPATH": str(environment.ROOT)}, capture_output=True, text=True,
        timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 100
