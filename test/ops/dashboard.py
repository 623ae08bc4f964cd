"""Reads the queries of a Grafana dashboard, and checks that the dashboard is consistent."""

import re

# The values that Grafana would insert: every series, and the shortest interval of a rate.
FILLED = {"$__rate_interval": "20s", "$__range": "1m", "$__interval": "5s", "$job": ".*", "$instance": ".*", "$source": ".*"}


def fill(query):
    for name, value in FILLED.items():
        query = query.replace(name, value)
    return query


def panels(board):
    return [p for p in board["panels"] if p["type"] != "row"]


def queries(board):
    for panel in panels(board):
        for target in panel["targets"]:
            yield f'panel "{panel["title"]}" {target["refId"]}', fill(target["expr"])


def variables(board):
    for v in board["templating"]["list"]:
        if v["type"] != "query":
            continue
        asked = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", v["query"]["query"])
        if not asked:
            raise SystemExit(f"ops: variable {v['name']}: its query must be label_values(metric, label)")
        metric, labels, label = asked.groups()
        yield f"variable {v['name']}", metric, label, fill(metric + (labels or ""))


def errors(board):
    """What Grafana would show as broken, or not at all."""
    found, ids, taken = [], set(), {}
    names = [v["name"] for v in board["templating"]["list"]]
    if names[:1] != ["datasource"] or not {"source", "instance"} <= set(names):
        found.append("dashboard: the variables datasource (first), instance and source must be there")
    for panel in board["panels"]:
        title, at = panel["title"], panel["gridPos"]
        if panel["id"] in ids:
            found.append(f'panel "{title}": its id {panel["id"]} is another one\'s, too')
        ids.add(panel["id"])
        for spot in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            if spot in taken or spot[0] > 23:
                found.append(f'panel "{title}" overlaps "{taken.get(spot, "the edge")}"')
                break
            taken[spot] = title
        if panel["type"] == "row":
            continue
        if not panel.get("description") or not panel["targets"]:
            found.append(f'panel "{title}" has no description or no query')
        for source in [panel["datasource"]] + [t["datasource"] for t in panel["targets"]]:
            if source != {"type": "prometheus", "uid": "${datasource}"}:
                found.append(f'panel "{title}" does not ask the chosen datasource')
        for target in panel["targets"]:
            for name in set(re.findall(r"\$(\w+)", target["expr"])):
                if "$" + name not in FILLED:
                    found.append(f'panel "{title}": there is no variable {name}')
    return found
