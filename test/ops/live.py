"""Send every query of the rules and the dashboard to a real Prometheus.

The test fails if Prometheus does not understand a query, if a query returns nothing
although the scenario makes it true, if a selector matches no exported series, or if no
series has a label. Usage: live.py FOLDER RULES DASHBOARD
"""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import dashboard
import scenario

# Alerts that are true in the scenario. Prometheus must understand the other alerts, and
# each of their selectors must match something.
TRUE = {
    "TokenagentDown": "a target does not answer",
    "TokenagentExpiredTokenUsed": "the strict agent got its old token",
    "TokenagentFleetNotConverged": "two agents have different tokens, one has none",
    "TokenagentJWTEndsSoon": "the current token is good for 5 minutes",
    "TokenagentNotReady": "one agent waits for its source",
    "TokenagentOldTokenEndsSoon": "one agent began in the last 4 minutes of an overlap",
    "TokenagentRevokedTokenUsed": "the main agent got the revoked token",
    "TokenagentSourceBad": "one agent has no source",
}

# Metrics that only an agent in a pod of Kubernetes exports, with --token-review.
ONLY_IN_PODS = "tokenagent_token_reviews_total"

# What targets have beside the labels of tokenagent's own metrics.
TARGET_LABELS = {"namespace", "job", "instance"}


class Prometheus(scenario.Process):
    def __init__(self, s, rules, targets):
        self.port = scenario.free_port()
        with open(s.path("prometheus.yml"), "w", encoding="utf-8") as file:
            json.dump({
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                "rule_files": [rules],
                "scrape_configs": [{"job_name": "tokenagent", "static_configs": [{"targets": targets, "labels": {"namespace": "ops"}}]}],
            }, file)
        super().__init__(
            "prometheus", s.path("prometheus.log"), "prometheus", "--config.file=" + s.path("prometheus.yml"),
            "--storage.tsdb.path=" + s.path("data"), f"--web.listen-address=127.0.0.1:{self.port}",
        )

    def get(self, path, **args):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(args)
        try:
            with urllib.request.urlopen(url, timeout=scenario.PATIENCE) as answer:
                return json.load(answer)["data"], None
        except urllib.error.HTTPError as e:
            text = e.read()  # JSON, unless Prometheus is still starting
            return None, json.loads(text).get("error", str(e)) if text.startswith(b"{") else str(e)
        except urllib.error.URLError as e:
            self.check()
            return None, str(e)

    def series(self, query):
        """How many series the query has now, and the error."""
        data, error = self.get("query", query=query)
        return (0, error) if error else (len(data["result"]), None)


def labels_in(query):
    for kind, names in re.findall(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", query):
        yield from (n.strip() for n in names.split(",") if n.strip())


def selectors_in(query):
    """The metrics of agents, with their labels, and the names of recording rules."""
    return set(re.findall(r"(?<![\w:])((?:\w+:)?tokenagent_\w+(?::\w+)?(?:\{[^}]*\})?)", query))


def check(prometheus, rules, board):
    problems, asked, found = [], 0, set()
    known = set(TARGET_LABELS)
    data, error = prometheus.get("labels", **{"match[]": '{__name__=~"tokenagent_.*"}'})
    known |= set(data or [])

    def ask(where, query, needed):
        nonlocal asked
        asked += 1
        n, problem = prometheus.series(query)
        if problem:
            problems.append(f"{where}: {problem}")
        elif needed and not n:
            problems.append(f"{where}: no data; {needed}")
        for selector in selectors_in(query):
            n, problem = prometheus.series(selector)
            if not n and not selector.startswith(ONLY_IN_PODS):
                problems.append(f"{where}: {selector} matches no exported series{': ' + problem if problem else ''}")
            found.add(re.match(r"[\w:]+", selector).group())
        for label in labels_in(query):
            if label not in known:
                problems.append(f"{where}: no exported series has the label {label}")

    for rule in rules:
        name = rule["name"]
        if rule["health"] != "ok":
            problems.append(f"{name}: {rule.get('lastError') or rule['health']}")
        ask(name, rule["query"], "it is a recording" if rule["type"] == "recording" else TRUE.get(name))
    for where, query in dashboard.queries(board):
        ask(where, query, "every panel has some in the scenario")
    for where, metric, label, match in dashboard.variables(board):
        asked += 1
        values, problem = prometheus.get(f"label/{label}/values", **{"match[]": match})
        if problem or not values:
            problems.append(f"{where}: no values of {label} in {match}: {problem}")
    exported, _ = prometheus.get("label/__name__/values", **{"match[]": '{__name__=~"tokenagent_.*"}'})
    unused = set(exported or []) - found
    if unused:
        problems.append("shown by no panel and watched by no rule: " + ", ".join(sorted(unused)))
    problems += check_page(prometheus, exported or [])
    return problems, asked


def check_page(prometheus, exported):
    """Compare the tables of docs/metrics.md with the metrics and labels that agents export."""
    with open(os.path.join(os.path.dirname(__file__), "../../docs/metrics.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| `(tokenagent_\w+)` \| \w+ \|([^|]*)\|", file.read(), re.MULTILINE)
    page = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    series = {re.sub(r"_(bucket|count|sum)$", "", name) if "duration" in name else name: name for name in exported}
    problems = [f"docs/metrics.md does not name {name}" for name in sorted(series.keys() - page.keys())]
    for name, labels in page.items():
        if name not in series:
            if not name.startswith(ONLY_IN_PODS):
                problems.append(f"docs/metrics.md names {name}, which no agent exports")
            continue
        found, _ = prometheus.get("labels", **{"match[]": series[name]})
        found = set(found or []) - TARGET_LABELS - {"__name__", "le", "realm"}
        if found != labels:
            problems.append(f"docs/metrics.md: {name} has the labels {sorted(found)}, not {sorted(labels)}")
    return problems


def main(folder, rule_file, board_file):
    with open(board_file, encoding="utf-8") as file:
        board = json.load(file)
    problems = dashboard.errors(board)
    s, prometheus = scenario.Scenario(folder), None
    try:
        targets = s.start()
        s.jwt("third", "--signing-key", s.path("key.pem"))
        prometheus = Prometheus(s, os.path.abspath(rule_file), targets)
        alive = f"count(count_over_time(up[1m]) > 2) == {len(targets)}"
        scenario.wait("prometheus has scraped every agent", lambda: prometheus.series(alive)[0])
        s.rotate()
        began = time.time()
        scenario.wait("prometheus has scraped what came of it", lambda: prometheus.series(
            f'tokenagent_exec_restarts_total{{reason="change"}} > 0 and on (instance) timestamp(tokenagent_exec_running) > {began + 1}')[0])
        s.use()  # a second time, so that rates have two points that differ
        began = time.time()
        scenario.wait("prometheus has scraped it again and evaluated the rules", lambda: prometheus.series(
            f"timestamp(tokenagent_exec_running) > {began + 2} and on () job_source:tokenagent_fingerprints_not_everywhere:count > 0")[0])
        groups, problem = prometheus.get("rules")
        if problem:
            raise SystemExit("ops: " + problem)
        rules = [r for g in groups["groups"] for r in g["rules"]]
        missing = set(TRUE) - {r["name"] for r in rules}
        problems += [f"{name} is no alert" for name in sorted(missing)]
        found, asked = check(prometheus, rules, board)
        problems += found
        if problems:
            print(s.logs(), file=sys.stderr)
    finally:
        if prometheus:
            prometheus.stop()
        s.stop()
    for failure in problems:
        print("ops: " + failure, file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print(f"ops: {asked} queries of {len(rules)} rules and {len(board['panels'])} panels good")


if __name__ == "__main__":
    main(*sys.argv[1:])
