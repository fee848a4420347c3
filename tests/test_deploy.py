"""The files in `deploy/` fit the binary: neither a container engine nor Kubernetes is needed to see that."""
import configparser
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from harness.broker import binary
from harness.proxy import NAMES

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def stop_takes_at_most(settings):
    """Seconds: a stop hands over, then ships, each for at most `shutdown.timeout`; then sessions end."""
    return 2 * int(settings["shutdown"]["timeout"].removesuffix("s")) + int(settings["grpc"]["drain_grace"].removesuffix("s"))


def test_the_unit_gives_a_stop_its_time_and_connections_their_files(make_broker):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(ROOT / "deploy/systemd/runnel.service")
    service = unit["Service"]
    settings = json.loads(make_broker().cli("config", "print", "-o", "json"))
    assert int(service["TimeoutStopSec"].removesuffix("s")) >= stop_takes_at_most(settings) + 5
    assert int(service["LimitNOFILE"]) >= settings["kafka"]["max_connections"] + 1024
    assert service["ExecStart"].split()[1:3] == ["serve", "--config"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd on this machine")
def test_systemd_takes_the_unit(tmp_path):
    unit = tmp_path / "runnel.service"
    unit.write_text((ROOT / "deploy/systemd/runnel.service").read_text().replace("/usr/local/bin/runnel", binary()))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and not checked.stderr, checked.stderr


def test_the_image_asks_for_consent_and_opens_what_it_exposes(make_broker):
    lines = re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()
    settings, = [dict(word.removeprefix("RUNNEL_").split("=", 1) for word in line.split()[1:])
                 for line in lines if line.startswith("ENV RUNNEL_")]
    refused = make_broker(settings).run("config", "check")
    assert refused.returncode == 1 and "security.insecure" in refused.stderr
    allowed = make_broker(settings | {"SECURITY__INSECURE": "true"})
    shown = json.loads(allowed.cli("config", "print", "-o", "json"))
    exposed, = [line.split()[1:] for line in lines if line.startswith("EXPOSE ")]
    assert exposed == [shown[door]["listen"].split(":")[1] for door in ("kafka", "grpc", "http")]
    volume, = [line.split()[1] for line in lines if line.startswith("VOLUME ")]
    assert shown["node"]["data_dir"] == volume


def test_the_image_is_built_with_the_toolchain_of_the_checkout():
    channel, = re.findall(r'channel = "(.*)"', (ROOT / "rust-toolchain.toml").read_text())
    assert f"FROM rust:{channel}-" in DOCKERFILE and f"RUSTUP_TOOLCHAIN={channel}\n" in DOCKERFILE


def with_known_names(text):
    """A configuration whose brokers have addresses: names are looked up when it is checked."""
    for name in NAMES:
        assert name in text
        text = text.replace(f"{name}:", "127.0.0.1:")
    return text


def test_haproxy_takes_its_configuration(tmp_path):
    file = tmp_path / "haproxy.cfg"
    file.write_text(with_known_names((ROOT / "deploy/haproxy/haproxy.cfg").read_text()))
    checked = subprocess.run(["haproxy", "-c", "-f", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and "WARNING" not in checked.stderr, checked.stderr


@pytest.mark.skipif(not shutil.which("nginx"), reason="it is not installed for this alone: Debian's starts a server at once")
def test_nginx_takes_its_configuration(tmp_path):
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid;\n" + with_known_names((ROOT / "deploy/nginx/nginx.conf").read_text()))
    checked = subprocess.run(["nginx", "-t", "-c", file, "-e", tmp_path / "error.log"], capture_output=True, text=True,
                             check=False)
    assert checked.returncode == 0, checked.stderr


COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
BROKERS = [name for name in COMPOSE["services"] if name.startswith("broker-")]


def config_of(environment, make_broker):
    """What `config print` makes of the variables of a broker; fails where the binary does not accept them."""
    broker = make_broker()
    broker.settings = {name.removeprefix("RUNNEL_"): value for name, value in environment.items() if name.startswith("RUNNEL_")}
    assert broker.cli("config", "check") == "ok\n"
    return json.loads(broker.cli("config", "print", "-o", "json"))


@pytest.mark.parametrize("name", BROKERS)
def test_the_settings_of_the_composed_cluster(make_broker, name):
    service = COMPOSE["services"][name]
    image = {key: value for line in re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines() if line.startswith("ENV RUNNEL_")
             for key, value in (word.split("=", 1) for word in line.split()[1:])}
    settings = config_of(image | service["environment"], make_broker)
    assert settings["node"]["id"] == service["hostname"] == name
    assert settings["grpc"]["advertise"] == f"{name}:{settings['grpc']['listen'].split(':')[1]}"
    assert settings["metadata"]["url"].startswith("etcd://etcd:2379/")
    volume, at = service["volumes"][0].split(":")
    assert at == settings["node"]["data_dir"] and volume == name in COMPOSE["volumes"]
    assert int(service["stop_grace_period"].removesuffix("s")) >= stop_takes_at_most(settings) + 5
    assert service["healthcheck"]["test"] == ["CMD", "/usr/local/bin/runnel", "doctor", "--ready"]
    assert (ROOT / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).samefile(ROOT / "deploy/Dockerfile")
    assert service["ulimits"]["nofile"] >= settings["kafka"]["max_connections"] + 1024


def test_the_parts_of_the_composed_cluster_find_each_other():
    services = COMPOSE["services"]
    haproxy = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
    assert BROKERS == sorted(set(re.findall(r"^ +server (\S+) ", haproxy, re.MULTILINE))) == sorted(NAMES)
    exposed, = [set(line.split()[1:]) for line in DOCKERFILE.splitlines() if line.startswith("EXPOSE ")]
    assert set(re.findall(r"(?:broker-.:| port )(\d+)", haproxy)) == exposed
    published = [port.split(":") for port in services["haproxy"]["ports"]]
    assert {at for _, _, at in published} == set(re.findall(r"bind \*:(\d+)", haproxy))
    assert all(address == "127.0.0.1" for address, _, _ in published)
    environment = services["broker-a"]["environment"]
    host, port = environment["RUNNEL_KAFKA__ADVERTISE"].split(":")
    assert host == "localhost" and [port, "9092"] in [[there, here] for _, there, here in published]
    assert environment["RUNNEL_STORAGE__ENDPOINT"] == "http://minio:9000" and "minio" in services
    assert environment["RUNNEL_STORAGE__ACCESS_KEY_ID"] == services["minio"]["environment"]["MINIO_ROOT_USER"]
    assert environment["RUNNEL_STORAGE__SECRET_ACCESS_KEY"] == services["minio"]["environment"]["MINIO_ROOT_PASSWORD"]
    bucket = environment["RUNNEL_STORAGE__URL"].removeprefix("s3://").split("/")[0]
    assert services["bucket"]["command"][0].endswith(f" store/{bucket}")
    volumes = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])}
    assert {volume for volume in volumes if not volume.startswith(".")} == set(COMPOSE["volumes"])
    assert all(set(service.get("depends_on", [])) <= set(services) for service in services.values())


CHART = ROOT / "deploy/helm/runnel"
LEAST = {"security": {"acceptInsecure": True}, "etcd": {"endpoints": ["etcd-0.etcd:2379", "etcd-1.etcd:2379"]},
         "storage": {"url": "s3://bucket/prefix"}}
SINGLE = LEAST | {"kafka": {"advertiseMode": "single", "advertise": "runnel.example.org:9092"}, "replicas": 5,
                  "persistence": {"enabled": False}, "preStopSleepSeconds": 0, "shutdownTimeoutSeconds": 90}
ALL = LEAST | {
    "etcd": LEAST["etcd"] | {"user": "runnel", "passwordSecret": "etcd", "tlsSecret": "etcd-tls", "clientCertificate": True},
    "storage": LEAST["storage"] | {"endpoint": "http://minio:9000", "region": "here", "allowHttp": True,
                                   "credentialsSecret": "bucket"},
    "settings": {"segment.max_age": "2m", "wal.object.interval": "250ms"}, "zoneLabel": "topology.kubernetes.io/zone",
    "imagePullSecrets": [{"name": "registry"}], "podLabels": {"team": "streams"}, "podAnnotations": {"about": "it"},
    "nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "streams", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}}, "serviceAccount": {"annotations": {"role": "runnel"}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
    "service": {"type": "LoadBalancer", "annotations": {"internal": "true"}},
    "networkPolicy": {"enabled": True, "clients": [{"namespaceSelector": {}}], "monitoring": [{"podSelector": {}}]},
    "persistence": {"enabled": True, "size": "100Gi", "storageClass": "fast"},
    "serviceMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
}


def helm(verb, values, tmp_path, name=()):
    """A run of Helm on the chart."""
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    # What it takes for the version of a cluster where there is none.
    return subprocess.run([os.environ["HELM_BIN"], *verb, *name, CHART, "--values", file, "--kube-version", "1.34.0"],
                          capture_output=True, text=True, check=False)


def manifests(values, tmp_path):
    done = helm(["template", "--namespace", "streams"], values, tmp_path, ["main"])
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment_of(container):
    """The variables of a pod, as Kubernetes would fill them in for its second pod."""
    made_up = {"metadata.name": "main-runnel-1", "metadata.labels['apps.kubernetes.io/pod-index']": "1",
               "metadata.labels['topology.kubernetes.io/zone']": "zone-b"}
    variables = {}
    for one in container["env"]:
        source = one.get("valueFrom", {})
        value = one.get("value") or made_up.get(source.get("fieldRef", {}).get("fieldPath")) or "from-a-secret"
        variables[one["name"]] = re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], value)
    assert len(variables) == len(container["env"])
    return variables


@pytest.mark.parametrize("values", [LEAST, SINGLE, ALL], ids=["least", "single", "all"])
def test_helm_and_kubernetes_take_the_chart(tmp_path, values):
    linted = helm(["lint", "--strict"], values, tmp_path)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    decoded = subprocess.run([os.environ["KUBERNETES_CHECK_BIN"]], input=manifests(values, tmp_path), capture_output=True,
                             text=True, check=False)
    assert decoded.returncode == 0, decoded.stderr
    kinds = decoded.stdout.splitlines()
    assert {"ok StatefulSet", "ok PodDisruptionBudget"} <= set(kinds) and kinds.count("ok Service") == 3
    operator = ["unknown PrometheusRule", "unknown ServiceMonitor"]
    assert sorted(kind for kind in kinds if not kind.startswith("ok ")) == (operator if values is ALL else [])


@pytest.mark.parametrize("values", [LEAST, SINGLE, ALL], ids=["least", "single", "all"])
def test_the_pods_of_the_chart(make_broker, tmp_path, values):
    documents = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(manifests(values, tmp_path)) if one}
    pods = documents["StatefulSet", "main-runnel"]["spec"]
    assert pods["serviceName"] == "main-runnel-brokers" and ("Service", pods["serviceName"]) in documents
    container, = pods["template"]["spec"]["containers"]
    environment = environment_of(container)
    for file in ("ca.crt", "tls.crt", "tls.key"):
        (tmp_path / file).touch()  # looked for, and used only when etcd is dialled
    environment = {name: value.replace("/etc/runnel/etcd/", f"{tmp_path}/") for name, value in environment.items()}
    settings = config_of(environment, make_broker)
    name = f"main-runnel-1.{pods['serviceName']}.streams.svc"
    assert settings["node"]["number"] == 1 and settings["grpc"]["advertise"] == f"{name}:9093"
    assert settings["kafka"]["advertise"] == (SINGLE["kafka"]["advertise"] if values is SINGLE else f"{name}:9092")
    assert settings["node"]["data_dir"].startswith(container["volumeMounts"][0]["mountPath"])
    if values is ALL:
        assert settings["segment"]["max_age"] == "2m" and settings["node"]["zone"] == "zone-b"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {door: int(settings[door]["listen"].split(":")[1]) for door in ("kafka", "grpc", "http")}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pods["template"]["spec"]["terminationGracePeriodSeconds"] >= sleep + stop_takes_at_most(settings) + 5


@pytest.mark.parametrize("wrong, told", [
    ({"security": {"acceptInsecure": False}}, "security.acceptInsecure"),
    ({"etcd": {"endpoints": []}}, "etcd.endpoints"),
    ({"etcd": {"endpoints": ["http://etcd:2379"]}}, "etcd/endpoints"),
    ({"storage": {"url": ""}}, "storage.url"),
    ({"storage": {"url": "file:///data"}}, "storage/url"),
    ({"kafka": {"advertiseMode": "single"}}, "kafka.advertise"),
    ({"replica": 3}, "replica"),
])
def test_the_chart_says_what_is_missing_or_wrong(tmp_path, wrong, told):
    done = helm(["template"], LEAST | wrong, tmp_path, ["main"])
    assert done.returncode != 0 and told in done.stderr, done.stderr
