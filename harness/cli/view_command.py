"""``bench view``."""

from __future__ import annotations

import webbrowser
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from harness.cli.output import echo
from harness.errors import BenchError, nearest

__all__ = ["command", "make_server"]

ADDRESS = "127.0.0.1"
SERVED = {".html", ".md", ".csv", ".json", ".jsonl", ".svg", ".png", ".tex"}  # reports; not the database of records, and nothing hidden


@click.command(name="view")
@click.argument("suite", required=False)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of this machine [a free one].")
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
@click.option("--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of stores and reports.")
def command(suite: str | None, port: int, no_open: bool, results: Path) -> int:
    """
    Show the pages of the results, or that of SUITE, in a browser, until Ctrl-C.

    They are served on 127.0.0.1 alone. `bench run SUITE` writes them; `bench leaderboard SUITE --page` draws them anew from known records.

    \b
    bench view
    bench view noisy_labels
    bench view noisy_labels --port 8000 --no-open
    """
    name = page_of(suite, results)
    with make_server(results, port) as server:
        address = f"http://{ADDRESS}:{server.server_port}/{quote(name)}"
        echo(f"{address}   (Ctrl-C ends)")
        if not no_open:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            echo()

    return 0


def page_of(suite: str | None, results: Path) -> str:
    """
    Return the path of a suite's page below the results folder, or that of the page that joins all.

    Raises:
        BenchError: There is none.
    """
    pages = {page.parent.relative_to(results).as_posix(): page for page in sorted(results.rglob("index.html"))}
    wanted = "." if suite is None else suite.removesuffix("/")
    bare = wanted.removesuffix(".yaml").removesuffix(".yml").removeprefix("suites/")
    for name in (wanted, bare, bare.rpartition("/")[2]):
        if name in pages:
            return pages[name].relative_to(results).as_posix()
    made = "bench run SUITE" if suite is None else f"bench leaderboard {suite} --page"
    hint = nearest(wanted, [name for name in pages if name != "."]) if suite is not None else ""
    raise BenchError(
        f"there is no page{'' if suite is None else f' of {suite!r}'} in '{results}'\n    {f'{hint}   ' if hint else ''}`{made}` makes it"
    )


def make_server(results: Path, port: int = 0) -> ThreadingHTTPServer:
    """
    Bind a server of the reports to 127.0.0.1; port 0 is a free one.

    Raises:
        BenchError: The port is taken.
    """
    root = results.resolve()

    class Handler(_Reports):
        def __init__(self, *arguments: Any, **options: Any) -> None:  # Any: as socketserver calls it
            super().__init__(*arguments, directory=str(root), **options)

    try:
        return ThreadingHTTPServer((ADDRESS, port), Handler)
    except OSError as error:
        raise BenchError(f"port {port} of {ADDRESS}: {error.strerror}\n    choose another --port, or none for a free one") from error


class _Reports(SimpleHTTPRequestHandler):
    """Serves reports and nothing else: no listing, no hidden file, nothing outside the folder, nobody who came by another name."""

    def do_GET(self) -> None:
        if self._allowed():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._allowed():
            super().do_HEAD()

    def _allowed(self) -> bool:
        # A page of another site that lets its name point here must not read the results.
        if self.headers.get("Host", "").rpartition(":")[0] not in (ADDRESS, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return False
        root = Path(self.directory)
        path = Path(self.translate_path(self.path))
        path = (path / "index.html" if path.is_dir() else path).resolve()
        inside = path.is_relative_to(root)
        if (
            not inside
            or not path.is_file()
            or path.suffix not in SERVED
            or any(part.startswith(".") for part in path.relative_to(root).parts)
        ):
            self.send_error(HTTPStatus.NOT_FOUND)
            return False

        return True

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""
