"""A real nginx with the site of scripts/deploy, and a service behind it that does what a test says."""

import http.client
import json
import os
import queue
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.process import ROOT

sys.path.append(str(ROOT / "scripts/deploy"))

from certificate import make_certificate, still_good  # noqa: E402, F401
from nginx_site import Site  # noqa: E402
from places import Places  # noqa: E402, F401

SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])
NGINX, OPENSSL = shutil.which("nginx", path=SBIN), shutil.which("openssl")
wanted = pytest.mark.skipif(not NGINX or not OPENSSL, reason="nginx and openssl are wanted: apt install nginx openssl")
IPV6 = Path("/proc/net/if_inet6").exists()
MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 128; }}
http {{
    client_body_temp_path {folder}/temp; proxy_temp_path {folder}/temp; fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp; scgi_temp_path {folder}/temp;
    include {folder}/site.conf;
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Front:
    """nginx on two free ports; a context manager. `values` are those of `Site` that shall differ."""

    def __init__(self, folder: Path, port: int, known: tuple[str, ...] = ("localhost",), **values: str) -> None:
        self.folder, self.http, self.https = folder, free_port(), free_port()
        self.certificate, key = folder / "certificate.pem", folder / "key.pem"
        make_certificate(["localhost", "127.0.0.1", "other.example.org"], self.certificate, key)
        self.site = Site(
            known=known, certificate=self.certificate, certificate_key=key, upstream=f"127.0.0.1:{port}",
            http=str(self.http), https=str(self.https), acme=folder / "acme", logs=folder, **values,
        )  # fmt: skip

    def __enter__(self) -> "Front":
        main = self.folder / "nginx.conf"
        main.write_text(MAIN.format(folder=self.folder, user="user root;" if os.geteuid() == 0 else ""))
        (self.folder / "site.conf").write_text(self.site.render(ipv6=IPV6))
        command = [NGINX, "-p", self.folder, "-c", main]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        told = []
        for line in self.process.stderr:  # its sockets listen before it starts a worker
            told.append(line)
            if "start worker process" in line:
                break
        else:
            raise AssertionError("nginx did not start: " + "".join(told))
        self._reader = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
        self._reader.join(timeout=20)
        self.process.stderr.close()

    def tls(self, name: str = "localhost") -> ssl.SSLSocket:
        """A connection that trusts the machine's own certificate."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.https), 30), server_hostname=name)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, plain: bool = False
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by their names in small letters, and body."""
        if plain:
            connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.https, timeout=30)
            connection.sock = self.tls()
        try:
            connection.request(method, path, body, {"Host": "localhost"} | (headers or {}))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def error(self, *request: Any, **options: Any) -> tuple[int, str, dict[str, str]]:
        """Status, code and headers of an answer that must be an error in JSON with a sentence."""
        status, headers, body = self.ask(*request, **options)
        assert headers["content-type"].partition(";")[0] == "application/json", body
        error = json.loads(body)["error"]
        assert error["message"].endswith(".")
        return status, error["code"], headers

    def log(self) -> str:
        """All that it has written about requests."""
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))


class Service:
    """What stands behind nginx: hears requests and says `answer`; while `hold` is set it does not answer. A context
    manager."""

    def __init__(self) -> None:
        self.heard: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()
        """Path, headers by their names in small letters, and body."""
        self.status, self.headers, self.body = 200, {}, b'{"rewrite": "call mum | tomorrow 17:00"}'
        self.go_on = threading.Event()
        self.go_on.set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                service.heard.put((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                service.go_on.wait(30)
                self.send_response(service.status)
                for name, value in ({"Content-Length": str(len(service.body))} | service.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(service.body)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # a client that went away
        self.port = self._server.server_address[1]

    def __enter__(self) -> "Service":
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=20)

    def next(self) -> tuple[str, dict[str, str], bytes]:
        """The next request, waited for."""
        return self.heard.get(timeout=30)
