"""Shows the built book to this network: `make serve`.

It prints the address that other machines of the network open, and its QR code, which
also lies in _build/address.svg for a projector. Whoever is in the network can read the
book while this runs.
"""

from __future__ import annotations

import argparse
import socket
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import segno

BUILT = Path(__file__).resolve().parents[1] / "_build"
# an address outside that is never written to: a UDP socket only chooses a way there
ELSEWHERE = ("192.0.2.1", 9)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and does not tell of each."""

    def log_message(self, *_: object) -> None:
        pass


def lan_address() -> str:
    """This machine's address in its network; 127.0.0.1 where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(ELSEWHERE)
            return way.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def server_of(html: Path, port: int, host: str = "") -> ThreadingHTTPServer:
    """A server of the built book, which is not running yet.

    Args:
        html: the folder of the built book.
        port: to listen on; 0 for any that is free.
        host: the address to listen on; all of this machine if empty.
    """
    return ThreadingHTTPServer((host, port), partial(Quiet, directory=str(html)))


def show(address: str, picture: Path) -> None:
    """Prints an address and its QR code.

    Args:
        address: that others open.
        picture: the SVG file that receives the QR code.
    """
    code = segno.make(address, micro=False)
    code.save(str(picture), scale=10)
    if sys.stdout.isatty():
        code.terminal(compact=True)
    print(f"The book: {address}")
    print(f"Its QR code: {picture}")
    print("Ctrl-C ends it.", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Show the book to this network.")
    parser.add_argument("--port", type=int, default=8000, help="(%(default)s)")
    options = parser.parse_args(arguments)
    html = BUILT / "html"
    if not (html / "index.html").is_file():
        print(f"{html} has no book. Build it first: make book", file=sys.stderr)
        return 2
    try:
        server = server_of(html, options.port)
    except OSError as error:
        print(
            f"port {options.port} cannot be used ({error.strerror}). "
            "Choose another: make serve PORT=8001",
            file=sys.stderr,
        )
        return 2
    with server:
        address = f"http://{lan_address()}:{server.server_address[1]}/"
        show(address, BUILT / "address.svg")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
