"""pyarrow, DuckDB, Polars and pyiceberg read from the bucket exactly what a Kafka consumer reads."""
import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.transforms import DayTransform
from pyiceberg.types import LongType

from harness import log

BINARY = bytes(range(256))
ODD_TOPICS = ["042", "true", "2024-01-01", "a.b_c-d"]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
HIVE = pyarrow.dataset.partitioning(
    pa.schema([("topic", pa.string()), ("partition", pa.int32()), ("date", pa.date32())]), flavor="hive")

RECORDS = [
    (0, None, None, None),
    (0, b"", b"", []),
    (1, BINARY, BINARY, [("h", BINARY), ("h", None), ("h", b""), ("", b"empty name")]),
    (1, "clé".encode(), '{"a": 1}'.encode(), [("schlüssel", "wert".encode())]),
] + [(i % 2, f"k{i}".encode(), b"v" * (i % 700), [("n", str(i).encode())] * (i % 4)) for i in range(500)]


def with_pyarrow(files):
    table = pyarrow.dataset.dataset([str(f) for f in files], partitioning=HIVE).to_table()
    return rows(table.to_pylist(), lambda t: t.timestamp())


def with_duckdb(files):
    listed = ", ".join(f"'{f}'" for f in files)
    table = duckdb.sql(f"""
        select kafka_partition, kafka_offset, epoch_ms(kafka_timestamp) as kafka_timestamp, kafka_key, kafka_value, kafka_headers
        from read_parquet([{listed}], hive_partitioning = true,
                          hive_types = {{'topic': varchar, 'partition': int, 'date': date}})""")
    return rows([dict(zip(table.columns, row)) for row in table.fetchall()], lambda ms: ms / 1000)


def with_polars(files):
    frame = polars.read_parquet([str(f) for f in files], hive_partitioning=True, hive_schema={
        "topic": polars.String, "partition": polars.Int32, "date": polars.Date})
    return rows(frame.to_dicts(), lambda t: t.timestamp())


def rows(dicts, seconds):
    found = []
    for d in dicts:
        headers = tuple((h["key"], h["value"]) for h in d["kafka_headers"])
        found.append(log.Record(d["kafka_partition"], d["kafka_offset"], round(seconds(d["kafka_timestamp"]) * 1000),
                                d["kafka_key"], d["kafka_value"], headers))
    return sorted(found, key=lambda r: (r.partition, r.offset))


ENGINES = [with_pyarrow, with_duckdb, with_polars]


def assert_engines_agree(files, consumed):
    assert files
    for engine in ENGINES:
        assert engine(files) == consumed, engine.__name__


@pytest.mark.parametrize("topic", ["plain", *ODD_TOPICS])
def test_engines_agree_with_the_log(broker, topic):
    log.create_topic(broker.address, topic, 2)
    log.produce(broker.address, topic, RECORDS)
    consumed = log.flat(log.read_all(broker.address, topic))
    assert len(consumed) == len(RECORDS)
    assert broker.stop() == 0
    assert_engines_agree(broker.parquet_files(topic), consumed)


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_ends_as_the_same_rows(broker, codec):
    log.create_topic(broker.address, "coded", 2)
    log.produce(broker.address, "coded", RECORDS, compression_type=codec, linger_ms=50)
    consumed = log.flat(log.read_all(broker.address, "coded"))
    expected = sorted(((p, k, v, tuple(h or ())) for p, k, v, h in RECORDS), key=repr)
    assert sorted(((r.partition, r.key, r.value, r.headers) for r in consumed), key=repr) == expected
    assert broker.stop() == 0
    assert_engines_agree(broker.parquet_files("coded"), consumed)
    broker.start()
    assert log.flat(log.read_all(broker.address, "coded")) == consumed


def test_the_view_that_the_cli_prints_is_the_log(broker):
    log.create_topic(broker.address, "042", 2)
    log.produce(broker.address, "042", RECORDS)
    consumed = log.flat(log.read_all(broker.address, "042"))
    assert broker.stop() == 0
    paths = broker.cli("segment", "list", "042", "-o", "paths").split()
    assert sorted(p.removeprefix("file://") for p in paths) == [str(f) for f in broker.parquet_files("042")]
    with duckdb.connect() as connection:
        connection.execute(broker.cli("segment", "list", "042", "-o", "duckdb"))
        view = connection.execute("select view_name from duckdb_views() where not internal").fetchone()[0]
        found = connection.execute(
            f'select kafka_partition, kafka_offset, kafka_value from "{view}" order by 1, 2').fetchall()
    assert found == [(r.partition, r.offset, r.value) for r in consumed]


def test_the_files_become_an_iceberg_table_without_copying(broker, tmp_path, monkeypatch):
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")  # not a package of its own for that
    log.create_topic(broker.address, "iced", 2)
    log.produce(broker.address, "iced", RECORDS)
    consumed = log.flat(log.read_all(broker.address, "iced"))
    assert broker.stop() == 0
    files = broker.cli("segment", "list", "iced", "-o", "paths").split()
    table = iceberg_table(tmp_path, files)
    in_file = {f.name: int(f.metadata[b"PARQUET:field_id"]) for f in pyarrow.parquet.read_schema(files[0])}
    assert {column.name: column.field_id for column in table.schema().columns} == in_file
    assert sorted(table.inspect.files()["file_path"].to_pylist()) == sorted(files)
    assert rows(table.scan().to_arrow().to_pylist(), lambda t: t.timestamp()) == consumed
    assert rows(polars.scan_iceberg(table).collect().to_dicts(), lambda t: t.timestamp()) == consumed
    day = table.scan().to_arrow()["kafka_append_time"][0].as_py().date()
    counts = [table.scan(f"kafka_append_time {when} '{day}T00:00:00+00:00'").count() for when in ("<", ">=")]
    assert counts == [0, len(RECORDS)]


def iceberg_table(folder, files):
    """A table over exactly these files, whose column ids it takes over."""
    catalog = SqlCatalog("lake", uri=f"sqlite:///{folder}/catalog.db", warehouse=str(folder))
    catalog.create_namespace("kafka")
    columns = pyarrow.parquet.read_schema(files[0])
    table = catalog.create_table("kafka.iced", columns.remove(len(columns) - 1))
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.add_column("kafka_batch_base_offset", LongType(), required=True)
    with table.update_spec() as update:
        update.add_field("kafka_append_time", DayTransform(), "day")
    table.add_files(files)
    return table
