"""Sends events with the Python clients of the protocols that adapters read, to the collector at the given URL."""

import logging
import sys
from urllib.parse import urlsplit

BASE = sys.argv[1].rstrip("/")


def segment():
    from segment.analytics.client import Client

    problems = []
    for gzip in [False, True]:
        client = Client("KEY", host=BASE, gzip=gzip, on_error=lambda error, _: problems.append(error))
        client.track("u2", "Order Completed", {"total": 12}, message_id=f"python-{gzip}")
        client.group("u2", "g1", {"name": "Acme"})
        client.shutdown()
    assert not problems, problems


def snowplow():
    from snowplow_tracker import Emitter, PageView, SelfDescribing, SelfDescribingJson, Tracker

    failed = []
    for method in ["post", "get"]:
        url = urlsplit(BASE)
        emitter = Emitter(
            url.hostname,
            protocol="http",
            port=url.port,
            method=method,
            batch_size=2,
            on_failure=lambda _, events: failed.extend(events),
        )
        tracker = Tracker(f"python-{method}", emitter, app_id="shop")
        tracker.track(PageView(page_url="https://example.com/", page_title="Home"))
        data = SelfDescribingJson("iglu:com.acme/order/jsonschema/1-0-0", {"number": "A-2"})
        tracker.track(SelfDescribing(event_json=data))
        tracker.flush()
    assert not failed, failed


def otlp():
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    provider = LoggerProvider(resource=Resource.create({"service.name": "python"}))
    exporter = OTLPLogExporter(endpoint=f"{BASE}/v1/logs", compression=Compression.Gzip)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = logging.getLogger("shop")
    logger.propagate = False
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.error("payment of %s failed", "A-1", extra={"amount": 5})
    provider.shutdown()


def cloudevents():
    import requests
    from cloudevents.v1.conversion import to_binary, to_structured
    from cloudevents.v1.http import CloudEvent

    for convert in [to_binary, to_structured]:
        attributes = {"id": convert.__name__, "source": "/python", "type": "order", "subject": "s"}
        headers, body = convert(CloudEvent(attributes, {"number": 5}))
        answer = requests.post(f"{BASE}/wh/cloudevents", data=body, headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text


def shippers():
    """Logs as Fluent Bit and its like send them: lines and arrays, compressed, under several types."""
    import gzip
    import json

    import requests

    def rows(kind):
        return [{"number": f"{kind}-{n}"} for n in range(1000)]

    def lines(kind):
        return "".join(json.dumps(row) + "\n" for row in rows(kind))

    for content_type, text in [
        ("application/x-ndjson", lines("a")),
        ("application/json", lines("b")),
        ("application/json", json.dumps(rows("c"))),
    ]:
        headers = {"Content-Type": content_type, "Content-Encoding": "gzip", "User-Agent": "Fluent-Bit"}
        answer = requests.post(f"{BASE}/wh/order", data=gzip.compress(text.encode()), headers=headers, timeout=10)
        assert answer.status_code == 200 and answer.json()["recorded"] == 1000, answer.text


globals()[sys.argv[2]]()
