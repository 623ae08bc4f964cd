"""A Dapr pub/sub subscriber over HTTP that checks no token: tokenagent stands
before it. It listens on 127.0.0.1 alone, so that nobody comes past."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


SUBSCRIPTIONS = [
    {"pubsubname": os.environ.get("PUBSUB", "pubsub"), "topic": os.environ.get("TOPIC", "orders"), "route": "/orders"}
]
MAX_BODY = 4 << 20  # bytes; what daprd takes by default


class TooLarge(Exception):
    pass


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections
    timeout = 120  # seconds; longer than the 1.5 for which the proxy keeps an idle one

    def do_GET(self):
        # First read the body, whatever the method: what is left of it would be taken for
        # the next request, which nobody has checked.
        try:
            event = self.body()
        except TooLarge:
            self.close_connection = True  # for the same reason
            self.answer(413)
            return
        match f"{self.command} {urlsplit(self.path).path}":
            case "GET /healthz":
                self.answer(200)
            case "GET /dapr/subscribe":
                self.answer(200, SUBSCRIPTIONS)
            case "POST /orders":
                self.answer(200, {"status": self.take(event)})
            case _:
                self.answer(404)

    do_POST = do_GET

    def take(self, event):
        """Tells daprd what to do with an event. One that is not JSON is dropped: it never will be."""
        try:
            order = json.dumps(json.loads(event).get("data"))
        except (ValueError, AttributeError):
            return "DROP"
        print(f"order {order} from {self.headers.get('X-Tokenagent-Subject')}", flush=True)
        return "SUCCESS"

    def body(self):
        """Returns what was sent, with a length or in chunks (RFC 9112 section 7.1)."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(allowed(int(self.headers.get("Content-Length", 0))))
        body = b""
        while size := int(self.rfile.readline(1024).split(b";")[0], 16):
            allowed(len(body) + size)
            body += self.rfile.read(size)
            self.rfile.readline(1024)
        while self.rfile.readline(1024).strip():
            pass  # trailers
        return body

    def answer(self, status, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # no access log


def allowed(size):
    if size > MAX_BODY:
        raise TooLarge
    return size


def main():
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), App)
    server.daemon_threads = True  # or an idle connection holds up the end
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
