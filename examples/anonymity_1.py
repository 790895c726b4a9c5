"""A web page through three hops: an HTTP server, a tracker, relays, an exit and a proxy, each a process of its own.

Run it without arguments. All is on this machine. It starts everything, has curl fetch a page by way of the proxy,
prints the page, and ends.
"""

import http.server
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
RELAYS = 3
HOPS = 3


class Page(http.server.BaseHTTPRequestHandler):
    """Says who asks, as far as a server can tell."""

    def do_GET(self) -> None:
        host, port = self.client_address
        body = f"Hello, whoever you are. Your request for {self.path} came from {host}, port {port}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base
        pass


def serve_page() -> None:
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Page) as server:
        print(json.dumps({"event": "started", "port": server.server_port}), flush=True)
        server.serve_forever()


class Program:
    """A process that tells what happens as lines of JSON."""

    def __init__(self, stack: ExitStack, *arguments: str) -> None:
        self.process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL)
        self.output: Any = self.process.stdout
        stack.callback(self.stop)

    def wait_for(self, event: str) -> Any:
        for line in self.output:
            told = json.loads(line)
            if told["event"] == event:
                return told
        raise RuntimeError(f"a program has ended before it told {event!r}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.output.close()


def main() -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = Program(stack, __file__, "page")
        tracker = Program(stack, "-m", "ipv8", "tracker", "--port", "0", "--listen-address", LOOPBACK, "--json")
        port = tracker.wait_for("started")["addresses"][0]["port"]
        node = ("--listen-address", LOOPBACK, "--bootstrap", f"{LOOPBACK}:{port}", "--json")
        nodes = [Program(stack, "-m", "ipv8", "tunnel", "exit", "--relay-only", *node) for _ in range(RELAYS)]
        nodes.append(Program(stack, "-m", "ipv8", "tunnel", "exit", *node))
        for program in nodes:
            program.wait_for("started")
        proxy = Program(stack, "-m", "ipv8", "tunnel", "proxy", "--hops", str(HOPS), "--socks-port", "0",
                        "--client-only", "--guards-file", str(directory / "guards.json"), *node)
        socks = proxy.wait_for("started")["socks5"]
        proxy.wait_for("ready")
        print(f"A proxy with circuits of {HOPS} hops is ready.")
        url = f"http://localhost:{site.wait_for('started')['port']}/page"
        subprocess.run(["curl", "--silent", "--show-error", "--fail", "--max-time", "60", "--socks5-hostname",
                        f"{socks['host']}:{socks['port']}", url], check=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["page"]:
        serve_page()
    elif sys.argv[1:]:
        print(__doc__)
    else:
        main()
