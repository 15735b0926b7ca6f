"""Shows the built book to this network: `make serve`.

It prints the address that other machines of the network open, and its QR code. Both are
on the first slide as well, for as long as this runs, and the code lies in
_build/address.svg. Whoever is in the network can read the book meanwhile.
"""

from __future__ import annotations

import argparse
import socket
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import segno
from slides import ADDRESS

BUILT = Path(__file__).resolve().parents[1] / "_build"
# an address outside that is never written to: a UDP socket only chooses a way there
ELSEWHERE = ("192.0.2.1", 9)


class Room(ThreadingHTTPServer):
    """A server that knows what its first slide shows of it; "" for nothing."""

    code = ""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and does not tell of each; the slides get the server's code."""

    server: Room

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        slides = Path(self.directory) / "slides.html"
        if self.path.partition("?")[0] != "/slides.html" or not slides.is_file():
            super().do_GET()
            return
        page = slides.read_text(encoding="utf-8")
        if self.server.code:
            page = page.replace(ADDRESS, self.server.code)
        sent = page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)


def lan_address() -> str:
    """This machine's address in its network; 127.0.0.1 where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(ELSEWHERE)
            return way.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def server_of(html: Path, port: int, host: str = "") -> Room:
    """A server of the built book, which is not running yet.

    Args:
        html: the folder of the built book.
        port: to listen on; 0 for any that is free.
        host: the address to listen on; all of this machine if empty.
    """
    return Room((host, port), partial(Quiet, directory=str(html)))


def on_the_slides(address: str) -> str:
    """An address and its QR code, as the first slide shows them.

    Args:
        address: that others open.

    Returns:
        HTML that needs no other file.
    """
    code = segno.make(address, micro=False)
    drawn = code.svg_inline(scale=7, border=2, title=f"QR code of {address}")
    return f'<p class="address">{drawn}<br><a href="{address}">{address}</a></p>'


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
        server.code = on_the_slides(address)
        show(address, BUILT / "address.svg")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
