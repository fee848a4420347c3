"""Reads every segment below a bucket folder with pyarrow, DuckDB and Polars and prints what each of them saw.

    python read_segments.py FOLDER [TOPIC]

One JSON object per engine and line: `engine`, `rows`, `min_offset`, `max_offset` and `records`, the rows of all
columns in the order (partition, offset), with bytes as hex and times as milliseconds, so that lines of engines that
agree differ in nothing but the name. Exits with 1 if they do not agree.
"""
import datetime
import json
import pathlib
import sys

import duckdb
import polars
import pyarrow.parquet

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MILLISECOND = datetime.timedelta(milliseconds=1)


def with_pyarrow(files):
    return [row for file in files for row in pyarrow.parquet.ParquetFile(file).read().to_pylist()]


def with_duckdb(files):
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        table = connection.execute("select * from read_parquet(?, hive_partitioning = false)", [files])
        names = [column[0] for column in table.description]
        return [dict(zip(names, row)) for row in table.fetchall()]


def with_polars(files):
    return [row for file in files for row in polars.read_parquet(file, hive_partitioning=False).to_dicts()]


def plain(value):
    """The value as JSON can say it, the same for every engine."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // MILLISECOND
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def main(folder, topic="*"):
    found = pathlib.Path(folder).glob(f"topics/topic={topic}/partition=*/date=*/*.parquet")
    files = sorted(str(path) for path in found)
    if not files:
        sys.exit(f"no segments below {folder}")
    seen = []
    for engine in (with_pyarrow, with_duckdb, with_polars):
        records = sorted((plain(row) for row in engine(files)), key=lambda r: (r["kafka_partition"], r["kafka_offset"]))
        offsets = [record["kafka_offset"] for record in records]
        summary = {"rows": len(records), "min_offset": min(offsets), "max_offset": max(offsets), "records": records}
        print(json.dumps({"engine": engine.__name__.removeprefix("with_"), **summary}))
        seen.append(summary)
    if any(summary != seen[0] for summary in seen):
        sys.exit("the engines do not agree")


if __name__ == "__main__":
    main(*sys.argv[1:])
