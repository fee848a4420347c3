"""The driver's side of the contract of ../README.md."""
import base64
import json
import sys


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)


def headers_of(record):
    return [(name, decode(value)) for name, value in record["headers"]]


def consumed(partition, offset, timestamp, key, value, headers):
    """The line of a record that was read."""
    return {"partition": partition, "offset": offset, "timestamp": timestamp, "key": encode(key), "value": encode(value),
            "headers": [[name, encode(data)] for name, data in headers]}


def serve(**verbs):
    """Answers every request on stdin; a verb is a function that yields or returns lines."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            for answer in verbs[request["verb"]](request) or ():
                print(json.dumps(answer))
            answer = {"done": True}
        except Exception as error:  # whatever a library raises is an answer to the test
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)
