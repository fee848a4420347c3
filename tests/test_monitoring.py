"""Dashboards and alert rules name what brokers really expose, and Prometheus understands them."""
import json
import os
import pathlib
import re
import subprocess

import pytest
import yaml

from harness.cluster import Cluster
from harness.process import wait_until

ROOT = pathlib.Path(__file__).resolve().parent.parent
RULES = ROOT / "deploy/prometheus/alerts.yaml"
BOARDS = sorted((ROOT / "deploy/grafana").glob("*.json"))
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
PAGES = "https://github.com/runnel/runnel/blob/main/"
# What Prometheus adds by itself, and what it says about a scrape.
OF_PROMETHEUS = {"job", "instance"}
UP = {"up": set()}
# Counted when it happens, which it must not: a test cannot see it.
NEVER_SEEN = {"runnel_partition_invariant_violations_total": set(), "runnel_damage_total": {"where"}}


def check(*args, given=None):
    """A run of Prometheus' own parsers."""
    done = subprocess.run([os.environ["PROMETHEUS_CHECK_BIN"], *args], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def expressions(board):
    """Those of a dashboard, with Grafana's variables filled in."""
    panels = json.loads(board.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert found
    return [one.replace("$__rate_interval", "5m").replace("$job", "runnel") for one in found]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """The labels of every metric that a cluster shows after a little of everything."""
    settings = {"SEGMENT__MAX_AGE": "1s", "KAFKA__ADVERTISE_MODE": "single", "GROUPS__INITIAL_REBALANCE_DELAY": "0s"}
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), 3, settings)
    try:
        # With one address that of the first broker stands for a load balancer.
        for broker, zone in zip(cluster.brokers, "abc", strict=True):
            broker.settings |= {"KAFKA__ADVERTISE": cluster.brokers[0].address, "NODE__ZONE": zone}
        cluster.start_all()
        some_work(cluster)
        metrics = {}
        for broker in cluster.brokers:
            for line in broker.http("/metrics")[1].splitlines():
                if line and not line.startswith("#"):
                    name, labels = re.match(r"(\w+)(?:\{(.*)\})? ", line).groups()
                    metrics.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))
        yield metrics
    finally:
        cluster.close()


def some_work(cluster):
    """Both durabilities, Kafka and gRPC, a group, readers in other zones than the leaders, a broker that is drained."""
    first = cluster.brokers[0]
    at = ["--bootstrap", first.grpc_address]
    for topic, durability in (("lake", "object"), ("disk", "local")):
        first.cli("topic", "create", topic, "-p", "6", "-c", f"runnel.durability={durability}", *at)
        lines = "".join(f"{n}:{'x' * 100}\n" for n in range(1000))
        subprocess.run(["kcat", "-P", "-b", first.address, "-t", topic, "-K:"], input=lines, text=True, check=True, timeout=60)
        first.cli("segment", "seal", topic, "--wait", *at)
    # One is behind by all of the topic.
    first.cli("group", "reset", "readers", "--topic", "lake", "--to-earliest", *at)
    first.cli("consume", "lake", "-g", "others", "-n", "10", *at)
    for broker in cluster.brokers:  # from the bucket, past what is newest in memory
        broker.cli("consume", "disk", "--until", "end", *at)
    # What is not shipped yet comes from the leaders.
    first.cli("topic", "create", "tail", "-p", "6", "-c", "runnel.segment.max_age=3600000", *at)
    lines = "".join(f"{n}:{n}\n" for n in range(100))
    subprocess.run(["kcat", "-P", "-b", first.address, "-t", "tail", "-K:"], input=lines, text=True, check=True, timeout=60)
    first.cli("consume", "tail", "--until", "end", *at)
    first.cli("cluster", "drain", "2", *at)
    first.cli("cluster", "drain", "2", "--undo", *at)
    wait_until(lambda: any("runnel_cluster_traffic_bytes" in broker.http("/metrics")[1] for broker in cluster.brokers),
               "the controller has asked what goes through partitions")
    wait_until(lambda: lag_of(cluster, "readers") == 1000, "the lag of a group, whoever leads the partitions")


def lag_of(cluster, group):
    """As the rules sum it up."""
    lines = [line for broker in cluster.brokers for line in broker.http("/metrics")[1].splitlines()]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("runnel_group_lag_records{") and f'"{group}"' in line)


def assert_exposed(exprs, exposed):
    known = exposed | UP | NEVER_SEEN
    for expr, found in zip(exprs, check(given="".join(" ".join(expr.split()) + "\n" for expr in exprs)), strict=True):
        assert found["selectors"], expr
        names = {selector["name"] for selector in found["selectors"]}
        assert names <= set(known), f"nobody exposes {names - set(known)}"
        for selector in found["selectors"]:
            unknown = set(selector["labels"]) - known[selector["name"]] - OF_PROMETHEUS
            assert not unknown, f"{selector['name']} has no {unknown}"
        grouped = set(found["grouping"]) - OF_PROMETHEUS
        assert grouped <= set().union(*(known[name] for name in names)), expr


def test_prometheus_takes_the_rules():
    assert not check(RULES)


def test_the_rules_name_what_brokers_expose(exposed):
    assert_exposed([rule["expr"] for rule in ALERTS], exposed)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_the_dashboards_name_what_brokers_expose(exposed, board):
    assert_exposed(expressions(board), exposed)
    legends = {label for panel in json.loads(board.read_text())["panels"] for target in panel.get("targets", [])
               for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])}
    assert legends <= set().union(*exposed.values(), *NEVER_SEEN.values()) | OF_PROMETHEUS


MINUTES_20 = 80  # scrapes
STILL, GROWS, FALLS_SILENT = [7.0] * MINUTES_20, [10.0 * n for n in range(MINUTES_20)], [10.0 * min(n, 20) for n in range(MINUTES_20)]


def series(name, values, **labels):
    return {"labels": {"__name__": name, "job": "runnel", "instance": "a:9094"} | labels, "values": values}


def slow(seconds):
    """A histogram whose requests all take as long."""
    return [series("runnel_kafka_request_seconds_bucket", GROWS if float(le) >= seconds else [0.0] * MINUTES_20, api="Produce", le=le)
            for le in ("0.1", "0.5", "1", "2.5", "+Inf")]


LIMIT = series("runnel_wal_unshipped_limit_bytes", [4e9] * MINUTES_20)
HEALTHY = [series("up", [1.0] * MINUTES_20), series("runnel_cluster_waiting_partitions", [0.0] * MINUTES_20),
           series("runnel_objstore_requests_total", GROWS, op="create", code="ok"),
           series("runnel_objstore_requests_total", GROWS, op="create", code="conflict"),
           series("runnel_wal_object_unflushed_bytes", STILL), series("runnel_wal_slots_total", GROWS),
           series("runnel_wal_unshipped_bytes", [1e6] * MINUTES_20), LIMIT, series("runnel_ready", [1.0] * MINUTES_20),
           series("runnel_etcd_requests_total", GROWS, action="change", code="ok"),
           series("runnel_etcd_requests_total", GROWS, action="end a lease", code="not_found"),
           series("runnel_session_start_time_seconds", [1.7e9 + 60 * (n > 40) for n in range(MINUTES_20)]), series("runnel_ship_total", GROWS, outcome="ok"),
           series("runnel_ship_total", GROWS, outcome="failed"), *slow(0.3),
           series("runnel_group_lag_records", [200_000.0] * MINUTES_20, group="g", topic="t"),
           series("runnel_build_info", [1.0] * MINUTES_20, version="0.1.0")]
SICK = {
    "RunnelBrokerDown": [series("up", [0.0] * MINUTES_20)],
    "RunnelAllBrokersDown": [series("up", [0.0] * MINUTES_20)],
    "RunnelPartitionsWaitForDisk": [series("runnel_cluster_waiting_partitions", [2.0] * MINUTES_20)],
    "RunnelBucketFails": [series("runnel_objstore_requests_total", GROWS, op="create", code="unavailable")],
    "RunnelObjectLaneStalls": [series("runnel_wal_object_unflushed_bytes", STILL), series("runnel_wal_slots_total", FALLS_SILENT)],
    "RunnelUnshipped": [series("runnel_wal_object_unshipped_bytes", [3e9] * MINUTES_20), LIMIT],
    "RunnelDamage": [series("runnel_damage_total", [0.0 + (n > 40) for n in range(MINUTES_20)], where="segment")],
    "RunnelNotReady": [series("runnel_ready", [0.0] * MINUTES_20)],
    "RunnelEtcdFails": [series("runnel_etcd_requests_total", GROWS, action="change", code="timeout")],
    "RunnelRestarts": [series("runnel_session_start_time_seconds", [1.7e9 + 60 * (n // 10) for n in range(MINUTES_20)])],
    "RunnelShippingFails": [series("runnel_ship_total", FALLS_SILENT, outcome="ok"),
                            series("runnel_ship_total", GROWS, outcome="failed")],
    "RunnelProduceSlow": slow(2.0),
    "RunnelGroupFallsBehind": [series("runnel_group_lag_records", [1e6 + n for n in GROWS], group="g", topic="t")],
    "RunnelInvariantViolated": [series("runnel_partition_invariant_violations_total", [1.0 + (n > 40) for n in range(MINUTES_20)])],
    "RunnelVersionsDiffer": [series("runnel_build_info", [1.0] * MINUTES_20, version="0.1.0"),
                             series("runnel_build_info", [1.0] * MINUTES_20, version="0.2.0", instance="b:9094")],
}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_is_raised_when_it_should_be(rule):
    healthy, sick = check("--evaluate", given="".join(
        json.dumps({"expr": rule["expr"], "series": scraped}) for scraped in (HEALTHY, SICK[rule["alert"]])))
    assert healthy == 0 and sick > 0


def test_what_tests_cannot_see_is_counted_somewhere():
    source = "".join(file.read_text() for file in sorted(ROOT.glob("crates/*/src/**/*.rs")))
    assert all(f'"{name}"' in source for name in NEVER_SEEN)


def test_the_rules_of_the_chart_are_the_same():
    assert (ROOT / "deploy/helm/runnel/files/alerts.yaml").read_text() == RULES.read_text()


def test_every_alert_has_its_page():
    for rule in ALERTS:
        page = ROOT / rule["annotations"]["runbook_url"].removeprefix(PAGES)
        assert page.is_file() and rule["alert"] in page.read_text(), f"{page} does not tell of {rule['alert']}"
        assert rule["labels"]["severity"] in ("critical", "warning") and rule["annotations"]["summary"]
