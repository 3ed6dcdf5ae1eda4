"""A model hub that serves the folders `owner/model` of a directory, by the requests that huggingface_hub makes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

REVISION = "c0ffee" + "0" * 34
GATED, SHORT = "someone/gated", "someone/short"


@contextmanager
def serving(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of the hub and the list of requests that came in, while the block runs."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # no connection outlives its request, so closing the hub closes it

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self) -> None:
            path = unquote(self.path).partition("?")[0].strip("/")
            requests.append(f"{self.command} {path}")
            api, _, name = path.partition("api/models/")
            if not api and (root / name).is_dir():
                found = sorted(file for file in (root / name).rglob("*") if file.is_file())
                files = [{"rfilename": file.relative_to(root / name).as_posix()} for file in found]
                self._send(200, json.dumps({"id": name, "sha": REVISION, "siblings": files}).encode())
                return
            name, _, file = path.partition(f"/resolve/{REVISION}/")
            if name == GATED and file:
                self._send(403, b"", {"X-Error-Code": "GatedRepo"})
            elif file and (root / name / file).is_file():
                self._send_file((root / name / file).read_bytes(), cut=name == SHORT)
            else:
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

        def _send_file(self, data: bytes, *, cut: bool) -> None:
            head = {
                "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
                "X-Repo-Commit": REVISION,
                "X-Linked-Size": str(len(data)),
            }
            self._send(200, data[: len(data) // 2] if cut else data, head)

        def _send(self, code: int, body: bytes, head: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for key, value in {
                "Content-Length": str(len(body)),
                "Content-Type": "application/json",
                **(head or {}),
            }.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
