"""The files in `deploy/` fit the binary: neither systemd nor a container engine is needed to see that."""
import configparser
import json
import pathlib
import re

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
