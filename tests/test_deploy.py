"""The files in `deploy/` fit the binary: neither systemd nor a container engine is needed to see that."""
import configparser
import json
import pathlib
import re
import shutil
import subprocess

import pytest

from harness.proxy import NAMES

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def test_the_unit_gives_a_stop_its_time_and_connections_their_files(make_broker):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(ROOT / "deploy/runnel.service")
    service = unit["Service"]
    settings = json.loads(make_broker().cli("config", "print", "-o", "json"))
    seconds = {name: int(value.removesuffix("s")) for name, value in [
        ("unit", service["TimeoutStopSec"]), ("broker", settings["shutdown"]["timeout"])]}
    assert seconds["unit"] >= seconds["broker"] + 10
    assert int(service["LimitNOFILE"]) >= settings["kafka"]["max_connections"] + 1024
    assert service["ExecStart"].split()[1:3] == ["serve", "--config"]


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
