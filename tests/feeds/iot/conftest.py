"""Brokers for tests: the real mosquitto, or amqtt where it is not installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import free_port, wait_for

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin")


def _answers(port: int) -> bool:
    import socket

    try:
        with socket.create_connection(("127.0.0.1", port), 5):
            return True
    except OSError:
        return False


class Mosquitto:
    """A mosquitto of its own, which can be killed and started again on the same port.

    `user root` (without effect for others) lets it write into the test's own folder.
    """

    name = "mosquitto"

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        """tls: listen over TLS too, with a certificate of its own making."""
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            "persistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            "max_queued_messages 0\n"
        )
        if tls:
            self._listen_over_tls(folder)
        self.start()

    def _listen_over_tls(self, folder: Path) -> None:
        self.certificate, key, port = folder / "broker.pem", folder / "broker.key", free_port()
        subject = ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
        made = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key]
        made += ["-out", self.certificate]
        subprocess.run(
            ["openssl", "req", "-x509", *made, *subject], check=True, capture_output=True
        )
        self.secure_url = f"mqtts://127.0.0.1:{port}"
        with self._config.open("a") as config:
            config.write(f"listener {port} 127.0.0.1\ncertfile {self.certificate}\nkeyfile {key}\n")

    def start(self) -> None:
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: _answers(self.port))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


_AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def serve():
    listeners = {"default": {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}}
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {}}
    await Broker({"listeners": listeners, "plugins": plugins}).start()
    await asyncio.Event().wait()

asyncio.run(serve())
"""


class Amqtt:
    """The broker from a wheel; its sessions live in memory, so it cannot be restarted.

    In a process of its own: it forgets the socket of a client that it refused and that has gone.
    """

    name = "amqtt"

    def __init__(self) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _AMQTT, str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: _answers(self.port))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


@pytest.fixture
def mosquitto(tmp_path):
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def tls_mosquitto(tmp_path):
    if MOSQUITTO is None or shutil.which("openssl") is None:
        pytest.skip("mosquitto or openssl is not installed")
    broker = Mosquitto(tmp_path, tls=True)
    yield broker
    broker.stop()


@pytest.fixture(params=["mosquitto", "amqtt"])
def any_broker(request, tmp_path):
    if request.param == "mosquitto" and MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    broker = Mosquitto(tmp_path) if request.param == "mosquitto" else Amqtt()
    yield broker
    broker.stop()
