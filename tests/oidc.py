"""A token endpoint of OIDC: client credentials in, a JWT that nobody signed out."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs

from streams.embedded.certificates import Authority


@dataclass
class TokenEndpoint:
    CLIENT: ClassVar[str] = "autodeep:client"
    SECRET: ClassVar[str] = "oidc/5ecret+%"

    url: str
    user: str
    life_s: float
    given: int = 0

    def token(self) -> str:
        now_s = time.time()
        claims = {"sub": self.user, "iat": now_s, "exp": now_s + self.life_s, "scope": "kafka"}
        parts = ({"alg": "none", "typ": "JWT"}, claims)
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
        self.given += 1
        return b".".join((*encoded, b"")).decode()


@contextmanager
def token_endpoint(authority: Authority, user: str, life_s: float = 5.0) -> Iterator[TokenEndpoint]:
    """At https://localhost, with a certificate of the authority."""
    issued = authority.issue("tokens")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.chain_file, issued.key_file)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            asked = form.get("grant_type"), form.get("scope")
            good = asked == (["client_credentials"], ["kafka"]) and self.headers["Authorization"] in known
            answer = {"access_token": endpoint.token(), "expires_in": life_s} if good else {"error": "no"}
            body = json.dumps(answer).encode()
            self.send_response(200 if good else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        endpoint = TokenEndpoint(f"https://localhost:{server.server_port}/token", user, life_s)
        known = accepted(endpoint)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()


def accepted(endpoint: TokenEndpoint) -> set[str]:
    """Some clients quote id and secret, as RFC 6749 2.3.1 says, and some do not."""
    quoted = "autodeep%3Aclient:oidc%2F5ecret%2B%25"
    plain = f"{endpoint.CLIENT}:{endpoint.SECRET}"
    return {"Basic " + base64.b64encode(text.encode()).decode() for text in (quoted, plain)}
