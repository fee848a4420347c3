"""What the documents say can be done is done here, as they print it; only paths, ports and topics are put in."""
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from harness import log
from harness.broker import binary
from harness.process import clean_environment

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted(ROOT.glob("docs/**/*.md")), ROOT / "deploy/README.md"]


def blocks(page, language):
    """The fenced blocks of a page in one language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no block of {language}"
    return found


def run(*args, cwd=None):
    """Runs a command that must succeed and returns what it printed."""
    done = subprocess.run(args, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_message(start):
    """The one line of the README's section that begins with `start`."""
    section = (ROOT / "README.md").read_text().split("## First message\n")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    found, = [line for line in lines if line.startswith(start)]
    return found


def test_the_first_message(broker):
    env = f"set -o pipefail; export RUNNEL_BOOTSTRAP={broker.grpc_address}; "
    for start in ("printf", "kcat", "echo", "target/release/runnel consume"):
        line = first_message(start).replace("127.0.0.1:9092", broker.address).replace("target/release/runnel", binary())
        printed = run("bash", "-c", env + line)
        if start == "kcat":
            assert printed == '0 ada {"lang":"analytical"}\n1 grace {"lang":"cobol"}\n'
    assert printed == '0 ada {"lang":"analytical"}\n1 grace {"lang":"cobol"}\n2 barbara {"lang":"clu"}\n'
    run("bash", "-c", env + first_message("target/release/runnel segment seal").replace("target/release/runnel", binary()))
    words = first_message("target/release/runnel segment list").split()[1:]
    assert str(broker.parquet_files("pioneers")[0]) in broker.cli(*words)
    query = first_message("python3 -c").replace("runnel-data/bucket", str(broker.bucket))
    printed = run("bash", "-c", query.replace("python3", sys.executable, 1))
    assert all(word in printed for word in ("ada", "analytical", "grace", "cobol", "barbara", "clu")), printed


@pytest.mark.parametrize("topic", ["flights", "042", "true", "2024-01-01"])
def test_the_snippets_about_the_lake(broker, topic):
    log.create_topic(broker.address, topic, 1)
    log.produce(broker.address, topic, [(0, None, b'{"carrier": "UA"}', None)] * 777)
    assert broker.stop() == 0
    duckdb, polars, pyarrow, _ = blocks("docs/lake.md", "python")
    for snippet, expected in [(duckdb, "UA"), (polars, topic), (pyarrow, topic)]:
        printed = run(sys.executable, "-c", snippet.replace("runnel-data/bucket", str(broker.bucket)).replace(
            "topic=flights", f"topic={topic}"))
        assert re.search(r"\b777\b", printed) and expected in printed, printed
    for line in "".join(blocks("docs/lake.md", "sh")).splitlines():
        printed = broker.cli(*line.split("#")[0].replace("TOPIC", topic).split()[1:])
        assert all(str(file) in printed for file in broker.parquet_files(topic)), printed


@pytest.mark.parametrize("page", ["docs/cli.md", "docs/migrating-from-kafka.md"])
def test_the_examples_of_the_command_line(broker, tmp_path, page):
    """Each command of a page, in order, prints what the page says; `…` stands for anything."""
    (tmp_path / "runnel").symlink_to(binary())
    env = clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address, "RUNNEL_NODE__DATA_DIR": str(broker.data),
                                 "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    examples = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks(page, "console")), re.MULTILINE)
    assert len(examples) > 4
    for command, expected in examples:
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        assert re.fullmatch(re.escape(expected).replace("…", ".*"), done.stdout), f"{command}\n{done.stdout}"


def test_a_small_topic_is_copied_without_mirrormaker(make_broker, tmp_path):
    """The source is another broker of ours: to kcat it is Kafka."""
    source, broker = make_broker().start(), make_broker().start()
    log.produce(source.address, "orders", [(0, b"k%d" % n, b"v %d" % n, None) for n in range(100)])
    log.create_topic(broker.address, "orders", 1)
    line, = [line for block in blocks("docs/migrating-from-kafka.md", "sh") for line in block.splitlines() if "kcat" in line]
    (tmp_path / "runnel").symlink_to(binary())
    settings = f"set -o pipefail; export RUNNEL_BOOTSTRAP={broker.grpc_address} PATH={tmp_path}:$PATH; "
    run("bash", "-c", settings + line.replace("kafka:9092", source.address))
    copied = [(r.key, r.value) for r in log.read_all(broker.address, "orders")[0]]
    assert copied == [(b"k%d" % n, b"v %d" % n) for n in range(100)]


def test_the_snippet_about_iceberg(broker, tmp_path):
    log.produce(broker.address, "flights", [(0, None, b"v", None)] * 777)
    assert broker.stop() == 0
    (tmp_path / "flights.paths").write_text(broker.cli("segment", "list", "flights", "-o", "paths"))
    (tmp_path / "warehouse").mkdir()
    *_, snippet = blocks("docs/lake.md", "python")
    assert re.search(r"\b777\b", run(sys.executable, "-c", snippet, cwd=tmp_path))


def test_the_settings_file_shows_every_setting_and_its_default(make_broker):
    broker, file = make_broker(), ROOT / "config/runnel.toml"
    assert broker.cli("config", "print", "--config", str(file)) == broker.cli("config", "print")
    shown, section = set(), None
    for line in file.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif name := re.match(r"(?:# )?(\w+) = ", line):
            shown.add(f"{section}.{name[1]}")
    assert shown == {line.split()[0] for line in broker.cli("config", "docs").splitlines()}


@pytest.mark.parametrize("page", sorted((ROOT / "docs/operations").glob("*.md")), ids=lambda page: page.stem)
def test_the_messages_that_operators_look_up_exist(page):
    source = "".join(file.read_text() for file in sorted(ROOT.glob("crates/*/src/**/*.rs")))
    source = re.sub(r"\\\n\s*", "", source)
    rows = [row for table in page.read_text().split("| you see |")[1:] for row in table.split("\n\n")[0].splitlines()[2:]]
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    assert len(quoted) > 3 or page.stem != "README"
    for text in quoted:
        assert all(part.strip() in source for part in text.split("…")), text


def test_the_rules_for_the_bucket_are_json_and_know_every_prefix():
    for block in blocks("docs/operations/bucket.md", "json"):
        json.loads(block)
    kept = re.findall(r"^\| `(\w+)/", (ROOT / "docs/formats/bucket-layout.md").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| ((?:`\w+/`(?:, )?)+) \|", (ROOT / "docs/operations/bucket.md").read_text(), re.MULTILINE)
    assert set(kept) == {name for row in rows for name in re.findall(r"`(\w+)/`", row)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    missing = [t for t in targets if t and "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_the_tests_that_check_the_rules_of_a_cluster_exist():
    table = (ROOT / "docs/protocols/cluster.md").read_text()
    rows = [line.split("|")[1:-1] for line in table.splitlines() if re.match(r"\| [A-Z§]", line)]
    assert len(rows) > 25
    sources = [*ROOT.glob("crates/*/src/**/*.rs"), *ROOT.glob("crates/*/tests/**/*.rs"), *ROOT.glob("tests/*.py")]
    there = {name for file in sources for name in re.findall(r"\b(?:fn|def) (\w+)\(", file.read_text())}
    for rule, _, tests in rows:
        named = set(re.findall(r"`(\w+)`", tests))
        assert named, f"nothing checks rule {rule}"
        assert named <= there, f"rule {rule} is checked by tests that are not there: {named - there}"
