"""deploy/monitoring: the dashboard and alerts use existing metrics, and the log has its format."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.harness import REPOSITORY, Sandbox, program, system_program
from tests.deploy.running import DEPLOY, documents
from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.http.remote_store import RemoteStore, remote_server
from tests.http.servers import RunningServer, running_server
from tests.ports import free_port
from tests.test_conventions import headings
from tests.waiting import until
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.forwarding import Operation, OperationCounter
from wheelyard.wiring.build import open_index

FOLDER = DEPLOY / "monitoring"
PAGE = REPOSITORY / "docs" / "deploy" / "monitoring.md"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
GROUPS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
NAME = re.compile(r"\b(?:wheelyard|process)_[a-z_]+\b")
SELECTOR = re.compile(r"\b((?:wheelyard|process)_[a-z_]+)\{([^}]*)\}")
MATCHER = re.compile(r'([a-z_]+)(=~|!~|!=|=)"([^"]*)"')
GROUPED = re.compile(r"\bby \(([^)]*)\)")
SCRAPED = {"job", "instance"}
"""Labels that Prometheus puts to every figure."""
WORDS = {"outcome": {"ok", "absent", "unchanged", "conflict", "error"}, "method": {"GET"}}
"""Values of labels that do not occur in this test."""
VALUES = {"$__rate_interval": "5m", "$__range": "6h", "$price_a": "0.005", "$price_b": "0.0004"}


def expressions() -> Iterator[str]:
    """Yield what is asked of Prometheus, with values in the place of Grafana's variables."""
    queries = [target["expr"] for panel in PANELS for target in panel["targets"]]
    queries += [entry["expr"] for entry in DASHBOARD["annotations"]["list"]]
    for each in queries:
        query = re.sub(r"\$(job|instance)\b", ".+", each)
        yield re.sub("|".join(map(re.escape, VALUES)), lambda name: VALUES[name[0]], query)
    yield from (rule["expr"] for rule in RULES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An index that something was done with, that logs, and whose webhook nobody answers."""
    config = '[log]\nformat = "json"\naccess = true\n'
    folder = tmp_path_factory.mktemp("figures") / "folder"
    before = open_index(Settings(store=StoreSettings(location=str(folder / "store"))))
    keys = {"name": "builds", "url": f"http://127.0.0.1:{free_port()}/"}
    before.server.webhooks.add(keys, "local:test")
    with running_server(folder, config=config) as server:
        publish(server, make_wheel())
        for path in ("/simple/", "/simple/demo/", "/ready", "/metrics"):
            assert server.get(path).status_code == 200
        until(lambda: "wheelyard_expiring_tokens " in server.get("/metrics").text)
        until(lambda: "wheelyard_webhook_deliveries_total{" in server.get("/metrics").text)
        yield server


@pytest.fixture(scope="module")
def figures(
    server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, set[str]]]:
    """Return every figure of a running index by name: its labels, and their values."""
    text = server.get("/metrics").text
    operation_counter = OperationCounter()
    for verb, price in (("insert", "A"), ("read", "B"), ("delete", "free")):
        operation_counter.add(Operation(verb, price))
    with remote_server(
        tmp_path_factory.mktemp("far"), RemoteStore(), operation_counter=operation_counter
    ) as far:
        text += far.get("/metrics").text
    labels_of: dict[str, dict[str, set[str]]] = {}
    for line in text.splitlines():
        name, _, labels = line.rpartition(" ")[0].partition("{")
        of_name = labels_of.setdefault(name, {}) if not line.startswith("#") else {}
        for label, _, value in MATCHER.findall(labels):
            of_name.setdefault(label, set()).add(value)
    return labels_of


def test_dashboard_and_alerts_ask_for_metrics(figures: dict[str, dict[str, set[str]]]) -> None:
    """Dashboard and alerts ask for figures that there are, by labels and words that they have."""
    for expression in expressions():
        names = NAME.findall(expression)
        assert set(names) <= figures.keys(), expression
        for name, matchers in SELECTOR.findall(expression):
            for label, _, value in MATCHER.findall(matchers):
                assert label in {*figures[name], *SCRAPED}, expression
                allowed = WORDS.get(label, figures[name].get(label, set()))
                assert label in {*SCRAPED, "status"} or set(value.split("|")) <= allowed, expression
        for labels in GROUPED.findall(expression):
            of_any = set().union(*(figures[name] for name in names), SCRAPED)
            assert set(labels.split(", ")) <= of_any, expression


def test_every_alert_waits_and_leads_to_a_heading() -> None:
    """Every alert waits a while, says how bad it is, and leads to a heading that there is."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["for"], rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert {"summary", "description", "runbook"} == set(rule["annotations"])
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert anchor in headings(REPOSITORY / page), rule["alert"]


def test_prometheus_takes_every_expression(sandbox: Sandbox) -> None:
    """Prometheus takes every expression, the alerts, and the configuration that is rendered."""
    promtool = system_program("promtool")
    asked = [{"record": f"a:{n}", "expr": each} for n, each in enumerate(expressions())]
    written = {"groups": [{"name": "asked", "rules": asked}]}
    (sandbox.folder / "asked.yaml").write_text(yaml.dump(written))
    sandbox.run(promtool, "check", "rules", "asked.yaml", FOLDER / "rules.yaml")
    token = sandbox.folder / "token"
    token.touch()
    index = {"INDEX_SCHEME": "https", "INDEX_HOST": "packages.example.com"}
    render = (sys.executable, DEPLOY / "render.py", FOLDER / "prometheus.yml")
    text = sandbox.run(*render, **index)
    text = text.replace("/etc/prometheus/wheelyard-metrics-token", str(token))
    (sandbox.folder / "prometheus.yml").write_text(text)
    (sandbox.folder / "rules.yaml").write_text((FOLDER / "rules.yaml").read_text())
    assert "1 rule files found" in sandbox.run(promtool, "check", "config", "prometheus.yml")


def test_managed_prometheus_finds_the_pods(sandbox: Sandbox) -> None:
    """Managed Prometheus finds the pods of deploy/gke, their port, and the token in a secret."""
    monitoring, *known = documents((FOLDER / "podmonitoring.yaml").read_text())
    deployment: Any = yaml.safe_load((DEPLOY / "gke" / "deployment.yaml").read_text())
    spec: Any = monitoring["spec"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (endpoint,) = spec["endpoints"]
    secret = endpoint["authorization"]["credentials"]["secret"]
    readable: Any = known[0]["rules"]

    assert spec["selector"] == deployment["spec"]["selector"]
    assert endpoint["port"] in [port["name"] for port in container["ports"]]
    assert [rule["resourceNames"] for rule in readable] == [[secret["name"]]]
    assert f"secret generic {secret['name']} --from-file={secret['key']}=" in PAGE.read_text()
    (sandbox.folder / "known.yaml").write_text(yaml.dump_all(known))
    validate = program("deploy", "kubernetes-validate")
    sandbox.run(validate, "--strict", "-k", "1.30", sandbox.folder / "known.yaml")


def test_lines_of_the_log(server: RunningServer, tmp_path: Path) -> None:
    """The log has every field that the page asks Cloud Logging for, and jq finds who uploaded."""
    jq, page = system_program("jq"), PAGE.read_text()
    server.change("demo", "yank", version="1.0", reason="broken")
    assert server.get("/simple/", "wyd_" + "0" * 48).status_code == 401
    entries = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    asked_for = [
        text.removesuffix(".list") for text in re.findall(r"jsonPayload\.([\w.]+\w)", page)
    ]
    asked_for += re.findall(r"\b(httpRequest\.\w+)", page)
    for field in set(asked_for):
        assert any(_has(entry, field) for entry in entries), field
    asked = re.search(r"jq -rR '([^']+)'", page)
    assert asked is not None
    (tmp_path / "log").write_text(server.log)
    (line,) = Sandbox(tmp_path, tmp_path).run(jq, "-rR", asked[1], "log").splitlines()
    assert line.split("\t")[1:] == [f"token:{server.token[4:14]}", make_wheel().filename]


def _has(entry: Any, path: str) -> bool:  # noqa: ANN401
    for name in path.split("."):
        if not isinstance(entry, dict) or name not in entry:
            return False
        entry = entry[name]
    return True
