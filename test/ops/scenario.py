"""Starts agents in every state that the rules and the dashboard show.

Everything listens on loopback, on ports that the system chooses. The scenario makes its
own tokens, keeps them in its directory, and prints none.
"""

import hashlib
import http.client
import json
import os
import socket
import subprocess
import time

PATIENCE = 30  # seconds to wait for an event before the test fails


def wait(what, happened):
    """Returns the result of happened() as soon as it is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := happened():
            return found
        time.sleep(0.1)
    raise SystemExit(f"ops: waited {PATIENCE} s in vain: {what}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    """A program with a log in a file."""

    def __init__(self, name, log, *args):
        self.name, self.log = name, log
        with open(log, "wb") as out:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def check(self):
        if self.process.poll() is not None:
            raise SystemExit(f"ops: {self.name} ended with {self.process.returncode}:\n{self.text()}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Agent(Process):
    """A `tokenagent run`, or exec, that has said where it listens."""

    def address(self, of):
        def said():
            self.check()
            for line in self.text().splitlines():
                if line.startswith("{") and (entry := json.loads(line)).get("for") == of:
                    return entry["addr"]
            return None

        return wait(f"{self.name} listens for {of}", said)

    def ask(self, **headers):
        connection = http.client.HTTPConnection(self.address("listen"), timeout=PATIENCE)
        connection.request("GET", "/", headers={k.replace("_", "-"): v for k, v in headers.items()})
        status = connection.getresponse().status
        connection.close()
        return status

    def wait_for(self, token, status):
        wait(f"{self.name} answers {status}", lambda: self.ask(dapr_api_token=token) == status)


def expect(got, want, what):
    if got != want:
        raise SystemExit(f"ops: {what}: answered {got}, not {want}")


class Scenario:
    """Seven agents, and an eighth that is not there."""

    def __init__(self, folder):
        self.folder, self.binary, self.agents = folder, os.path.join(folder, "tokenagent"), []

    def path(self, name):
        return os.path.join(self.folder, name)

    def call(self, *args):
        done = subprocess.run([self.binary, *args], capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise SystemExit(f"ops: tokenagent {args[0]} failed: {done.stderr}")
        return done.stdout.strip()

    def write(self, name, text):
        """Puts a file in place by a rename, as writers should."""
        with open(self.path(name + ".new"), "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(text + "\n")
        os.rename(self.path(name + ".new"), self.path(name))
        return self.path(name)

    def agent(self, name, command, *args):
        # What names no time of its own waits for events, or 200 ms.
        extra = ["--log-format", "json", "--poll-interval", "200ms", "--debounce", "0s", "--admin-listen", "127.0.0.1:0"]
        if command == "run":
            extra += ["--listen", "127.0.0.1:0"]
        a = Agent(name, self.path(name + ".log"), self.binary, command, *extra, *args)
        self.agents.append(a)
        return a

    def start(self):
        self.jwt("first", "--new-signing-key", self.path("key.pem"), "--public-jwks-out", self.path("jwks.json"))
        self.jwt("second", "--signing-key", self.path("key.pem"))
        os.mkdir(self.path("source"))
        self.write("source/token", self.read("first"))
        os.mkdir(self.path("state"), 0o700)
        self.main = self.agent(
            "main", "run", "--token-file", self.path("source"), "--state-file", self.path("state/tokens"),
            "--key-file", self.path("jwks.json"), "--issuer", "ops", "--audience", "ops",
        )
        self.plain = self.call("generate")
        self.strict = self.agent("strict", "run", "--token-file", self.write("plain", self.plain), "--overlap", "0s")
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 240))
        self.old = self.call("generate")
        # A named client, whose old token is used too.
        self.client, client = self.call("generate"), self.call("generate")
        late = self.write("late", f"{self.call('generate')}\n{self.old} previous until={until}\n"
                          f"{client} name=ci\n{self.client} previous until={until} name=ci")
        self.late = self.agent("late", "run", "--token-file", late)
        # Beside its plain admin port: a certificate that is good for long.
        tls = ["--tls-cert-file", self.path("tls.crt"), "--tls-key-file", self.path("tls.key")]
        self.certificate()
        self.secure = self.agent("secure", "run", "--token-file", self.path("plain"), *tls)
        self.waits = self.agent("waits", "run", "--token-file", self.path("never"), "--wait-for-source")
        realms = self.write("realms.yaml", f"realms:\n  orders:\n    token-file: {self.path('plain')}\n    hosts: orders.example")
        self.realms = self.agent("realms", "run", "--config", realms)
        self.realms.address("admin-listen")
        self.write("realms.yaml", "realms:\n  orders:\n    token-fil: none")
        self.program = self.agent("exec", "exec", "--token-file", self.path("plain"), "--restart-delay", "0s", "--", "sleep", "600")
        expect(self.late.ask(dapr_api_token=self.old), 200, "an old token before the first scrape")
        targets = [a.address("admin-listen") for a in self.agents]
        return targets + [f"127.0.0.1:{free_port()}"]  # one that does not answer

    def certificate(self):
        done = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
             "-subj", "/CN=localhost", "-keyout", self.path("tls.key"), "-out", self.path("tls.crt")],
            capture_output=True, text=True, timeout=PATIENCE,
        )
        if done.returncode:
            raise SystemExit(f"ops: openssl makes no certificate: {done.stderr}")

    def jwt(self, name, *args):
        return self.write(name, self.call("generate", "--jwt", "ES256", "--issuer", "ops", "--audience", "ops", "--subject", name, "--expires-in", "5m", *args))

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read().strip()

    def rotate(self):
        """A rotation, an old token in use, a leak, and one of each refusal."""
        first, second, leaked, source = self.read("first"), self.read("second"), self.call("generate"), self.path("source")
        self.call("rotate", "stage", "--from", self.path("second"), source)
        self.main.wait_for(second, 200)
        self.call("rotate", "promote", "--overlap", "4m", source)
        self.call("rotate", "revoke", "--digest", hashlib.sha256(leaked.encode()).hexdigest(), source)
        self.call("rotate", "stage", source)
        new = self.call("generate")
        self.write("plain", new)
        self.strict.wait_for(new, 200)
        self.tokens = first, second, leaked
        self.use()

    def use(self):
        first, second, leaked = self.tokens
        expect(self.main.ask(dapr_api_token=second), 200, "the new token")
        expect(self.main.ask(dapr_api_token=first), 200, "the old token")
        expect(self.main.ask(authorization="Bearer " + self.read("third")), 200, "a signed token")
        expect(self.main.ask(), 401, "no token")
        expect(self.main.ask(dapr_api_token=self.call("generate")), 401, "an unknown token")
        expect(self.main.ask(dapr_api_token=leaked), 401, "a revoked token")
        expect(self.late.ask(dapr_api_token=self.old), 200, "an old token near its end")
        expect(self.late.ask(dapr_api_token=self.client), 200, "an old token of a client")
        expect(self.strict.ask(dapr_api_token=self.plain), 401, "a token without an overlap")
        expect(self.realms.ask(dapr_api_token=second), 401, "a request of no realm")
        expect(self.waits.ask(dapr_api_token=second), 503, "an agent without a source")

    def stop(self):
        for a in self.agents:
            a.stop()

    def logs(self):
        return "".join(f"--- {a.name}\n{a.text()[-2000:]}" for a in self.agents)
