"""The official SDK over real HTTP, and webhooks sent to a real listener."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import stripe

from local.stripe_simulator import Options
from local.stripe_simulator import server as simulator_server
from local.stripe_simulator.deliveries import Outgoing
from local.stripe_simulator.server import SENDERS, STOP_SECONDS, WEBHOOK_TIMEOUT, SimulatorServer
from tests.support.stripe_client import TEST_KEY, CheckedHTTPClient, client, refusal

SECRET = "whsec_for_tests_only"
PROJECT = Path(__file__).parents[3]


class Listener(ThreadingHTTPServer):
    """A webhook endpoint that keeps what it was sent, and answers `statuses` in turn, then 200, while `answering` is set."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        self.received: list[tuple[bytes, str]] = []
        self.statuses: list[int] = []
        self.answering = threading.Event()
        self.answering.set()
        super().__init__(("127.0.0.1", 0), _Hook)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/webhooks/stripe?from=stripe"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in list(self.received)]


class _Hook(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.server.received.append((body, self.headers["Stripe-Signature"]))
        self.server.answering.wait()
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(listener: Listener) -> Iterator[SimulatorServer]:
    options = Options(settle_seconds=0.05, cooldown_seconds=1, retry_base_seconds=0.05)
    with SimulatorServer(webhook_url=listener.url, webhook_secrets=[SECRET], options=options) as running:
        yield running


@pytest.fixture
def sdk(server: SimulatorServer) -> stripe.StripeClient:
    return over_http(server.url)


def over_http(url: str, **options: Any) -> stripe.StripeClient:
    return client(CheckedHTTPClient(stripe.new_default_http_client(**options)), base_addresses={"api": url})


def eventually(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return result


def test_the_sdk_refreshes_hears_of_it_by_webhook_and_reads_the_owners(
    server: SimulatorServer, sdk: stripe.StripeClient, listener: Listener
) -> None:
    server.simulator.link("paged_owners", id="fca_a")
    accounts = sdk.v1.financial_connections.accounts
    assert accounts.refresh("fca_a", {"features": ["ownership"]}).ownership_refresh.status == "pending"
    eventually(lambda: [event for event in listener.events if event["type"].endswith("refreshed_ownership")])
    body, signature = listener.received[-1]
    event = sdk.construct_event(body, signature, SECRET)
    account = accounts.retrieve(event.data.object.id, {"expand": ["ownership"]})
    assert account.ownership_refresh.status == "succeeded"
    assert len(list(account.ownership.owners.auto_paging_iter())) == 13


def test_a_refused_webhook_is_sent_again(server: SimulatorServer, listener: Listener) -> None:
    listener.statuses = [500, 404]
    server.simulator.link("single_owner", id="fca_a")
    eventually(lambda: len(listener.received) == 3)
    assert len({event["id"] for event in listener.events}) == 1
    assert eventually(lambda: len(server.simulator.deliveries()) == 3)


def test_a_webhook_without_a_listener_is_sent_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with SimulatorServer(webhook_url=nobody, webhook_secrets=[SECRET], options=Options(retry_base_seconds=0.02, retry_limit=1)) as server:
        server.simulator.link("single_owner")
        log = eventually(lambda: len(found := server.simulator.deliveries()) == 2 and found)
    assert [(entry["attempt"], entry["status"]) for entry in log] == [(1, None), (2, None)]


def test_an_address_that_cannot_be_called_stops_no_other_deliveries(server: SimulatorServer, listener: Listener) -> None:
    bad = server.simulator.add_endpoint("http://127.0.0.1:1/x", SECRET)
    # The simulator would refuse this address.
    server.simulator._webhooks.endpoints[bad].url = "http://127.0.0.1:99999999/x"
    for number in range(SENDERS + 5):
        server.simulator.link("fresh", id=f"fca_{number}")
        server.simulator.deactivate(f"fca_{number}")
    eventually(lambda: len({entry["event"] for entry in server.simulator.deliveries() if entry["endpoint"] == bad}) > SENDERS)
    eventually(lambda: len(listener.received) > SENDERS)


def test_a_sender_outlives_an_error(server: SimulatorServer, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = iter(range(SENDERS + 5))

    def post(outgoing: Outgoing) -> int | None:
        if next(broken, None) is not None:
            raise RuntimeError("not foreseen")
        return sent(outgoing)

    sent = simulator_server.post
    monkeypatch.setattr(simulator_server, "post", post)
    for number in range(SENDERS + 6):
        server.simulator.link("fresh", id=f"fca_{number}")
        server.simulator.deactivate(f"fca_{number}")
    eventually(lambda: bool(listener.received))


def test_hundreds_of_webhooks_go_out_within_seconds(server: SimulatorServer, listener: Listener) -> None:
    for number in range(300):
        server.simulator.link("single_owner", id=f"fca_{number}")
    start = time.monotonic()
    eventually(lambda: len(listener.received) == 300, seconds=15)
    assert time.monotonic() - start < 3.0


def test_several_calls_share_one_connection(server: SimulatorServer) -> None:
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port)
    ports = set()
    for _ in range(3):
        connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {TEST_KEY}"})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["object"]) == (200, "list")
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


@pytest.mark.parametrize(("effect", "initiated"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize("kind", ["drop", "hang"])
def test_a_connection_lost_before_or_after_the_effect(server: SimulatorServer, kind: str, effect: str, initiated: int) -> None:
    server.simulator.link("never_answering", id="fca_a")
    server.simulator.fail_api(kind, effect=effect, seconds=30)
    accounts = over_http(server.url, timeout=0.3).v1.financial_connections.accounts
    error = refusal(lambda: accounts.refresh("fca_a", {"features": ["ownership"]}))
    assert isinstance(error, stripe.APIConnectionError)
    assert server.simulator.initiated_refreshes() == {"fca_a": initiated}


def test_a_hang_shorter_than_the_timeout_is_only_slow(server: SimulatorServer, sdk: stripe.StripeClient) -> None:
    server.simulator.link("single_owner", id="fca_a")
    server.simulator.fail_api("hang", effect="after", seconds=0.2)
    start = time.monotonic()
    assert sdk.v1.financial_connections.accounts.retrieve("fca_a").id == "fca_a"
    assert time.monotonic() - start >= 0.2


def test_racing_refreshes_initiate_one(server: SimulatorServer) -> None:
    server.simulator.link("never_answering", id="fca_a")
    answers: list[int] = []

    def race() -> None:
        try:
            over_http(server.url).v1.financial_connections.accounts.refresh("fca_a", {"features": ["ownership"]})
            answers.append(200)
        except stripe.StripeError as error:
            answers.append(error.http_status or 0)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [400] * 7
    assert server.simulator.initiated_refreshes() == {"fca_a": 1}


def test_control_works_over_http(server: SimulatorServer, listener: Listener) -> None:
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port)
    connection.request("POST", "/_simulator/accounts", json.dumps({"scenario": "joint", "id": "fca_a"}))
    assert json.loads(connection.getresponse().read())["id"] == "fca_a"
    connection.close()
    eventually(lambda: listener.events)


def test_an_oversized_request_is_not_read(server: SimulatorServer) -> None:
    url = urlsplit(server.url)
    with socket.create_connection((url.hostname, url.port)) as raw:
        raw.sendall(b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        raw.settimeout(5)
        assert raw.recv(1) == b""


def test_stopping_ends_a_hanging_call(listener: Listener) -> None:
    with SimulatorServer() as server:
        server.simulator.fail_api("hang", seconds=3600)
        caller = threading.Thread(target=lambda: refusal(lambda: over_http(server.url).v1.events.list()))
        caller.start()
        eventually(server.simulator.requests)
        start = time.monotonic()
    caller.join(timeout=5)
    assert not caller.is_alive()
    assert time.monotonic() - start < 5


def test_the_program_prints_its_url_sends_webhooks_and_ends_on_sigterm(listener: Listener) -> None:
    command = [sys.executable, "-m", "local.stripe_simulator", "--webhook-url", listener.url, "--webhook-secret", SECRET]
    with subprocess.Popen([*command, "--settle-seconds", "0.05"], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = json.loads(process.stdout.readline())["url"]
            sdk = over_http(url)
            params: Any = {
                "account_holder": {"type": "account", "account": "acct_1"},
                "permissions": ["ownership"],
                "prefetch": ["ownership"],
            }
            session = sdk.v1.financial_connections.sessions.create(params).id
            port = urlsplit(url).port
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("POST", f"/_simulator/complete/{session}", json.dumps({"accounts": [{"scenario": "fresh"}]}))
            assert connection.getresponse().status == 200
            connection.close()
            eventually(lambda: len(listener.events) == 2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()


def test_a_receiver_that_never_answers_does_not_hold_the_end_of_the_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        hook = f"http://127.0.0.1:{receiver.getsockname()[1]}/"
        command = [sys.executable, "-m", "local.stripe_simulator", "--webhook-url", hook, "--webhook-secret", SECRET]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                port = urlsplit(json.loads(process.stdout.readline())["url"]).port
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("POST", "/_simulator/accounts", json.dumps({"scenario": "joint"}))
                assert connection.getresponse().status == 200
                connection.close()
                with receiver.accept()[0] as delivery:
                    assert delivery.recv(4) == b"POST"
                    start = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(timeout=WEBHOOK_TIMEOUT - 5) == 0
                    assert time.monotonic() - start >= STOP_SECONDS
            finally:
                process.kill()


def test_stopping_gives_a_delivery_under_way_time_to_end(
    server: SimulatorServer, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.stripe_simulator.server.STOP_SECONDS", 30.0)
    listener.answering.clear()
    server.simulator.link("single_owner", id="fca_a")
    eventually(lambda: listener.received)
    threading.Timer(0.1, listener.answering.set).start()
    server.stop()
    assert [delivery["status"] for delivery in server.simulator.deliveries()] == [200]


def test_a_webhook_url_without_a_secret_is_refused() -> None:
    command = [sys.executable, "-m", "local.stripe_simulator", "--webhook-url", "http://127.0.0.1:1/"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode != 0
    assert "--webhook-secret" in done.stderr
