"""A Dapr pub/sub subscriber over HTTP that checks no token: tokenagent stands
before it. It listens on 127.0.0.1 alone, so that nobody comes past."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections
    timeout = 120  # seconds; longer than the 90 for which the proxy keeps an idle one

    def do_GET(self):
        # First of all, whatever the method: what is left of a body would be taken
        # for the next request, one that nobody has checked.
        event = self.body()
        match f"{self.command} {urlsplit(self.path).path}":
            case "GET /healthz":
                self.answer(200)
            case "GET /dapr/subscribe":
                self.answer(200, [{"pubsubname": "pubsub", "topic": "orders", "route": "/orders"}])
            case "POST /orders":
                print(f"an order of {len(event)} bytes from {self.headers.get('X-Tokenagent-Subject')}", flush=True)
                self.answer(200, {"status": "SUCCESS"})
            case _:
                self.answer(404)

    do_POST = do_GET

    def body(self):
        """Returns what was sent, with a length or in chunks (RFC 9112 section 7.1)."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(parts)

    def answer(self, status, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # no access log


def main():
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), App)
    server.daemon_threads = True  # or an idle connection holds up the end
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
