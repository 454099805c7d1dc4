"""`yilian serve` as a site sees it: start, stop, crash, second start, clear refusals."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.support import ROOT, marker_patient, running_hub, start_hub, wait_for

PATIENT = {"resourceType": "Patient", "active": True}


def children(hub):
    """Return the process ids below the supervisor, oldest first."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(hub.process.pid)], capture_output=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


def ingest_and_workers(hub):
    """Return the three of them; the hub is ready with its first worker."""
    wait_for(lambda: len(children(hub)) == 3)
    return children(hub)


def _split(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


def refused(*flags, cwd=ROOT, **environ):
    """Run `serve` with something wrong; return exit code and what it says."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("YILIAN_")}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "serve", *flags],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env | environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    return done.returncode, said


def test_a_hub_is_ready_serves_and_ends_with_0(hub):
    status, headers, body = hub.request("POST", "/fhir/Patient", PATIENT)

    assert status == 201
    assert hub.request("GET", f"/fhir/Patient/{json.loads(body)['id']}")[0] == 200
    assert headers["location"].startswith(f"{hub.base}/fhir/Patient/")
    assert hub.request("GET", "/readyz")[0] == 200
    assert hub.request("GET", "/healthz")[0] == 200


def test_what_was_answered_is_there_after_every_process_was_killed(database_url, tmp_path):
    hub = start_hub(tmp_path / "data", database_url=database_url)
    ids = [json.loads(hub.request("POST", "/fhir/Patient", PATIENT)[2])["id"] for _ in range(5)]
    hub.kill()

    with running_hub(tmp_path / "data", database_url=database_url) as again:
        assert [again.request("GET", f"/fhir/Patient/{id_}")[0] for id_ in ids] == [200] * 5
        assert again.stop() == 0
    hub.process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_no_process_is_left(number, tmp_path):
    with running_hub(tmp_path / "data") as hub:
        below = ingest_and_workers(hub)

        os.killpg(hub.process.pid, number)

        assert hub.process.wait(timeout=90) == 0
        assert not set(below) & set(hub.alive())
        assert not (hub.data / "hub.json").exists()


def test_children_that_die_are_started_again(tmp_path):
    with running_hub(tmp_path / "data") as hub:
        ingest, first, _ = ingest_and_workers(hub)
        for pid in (ingest, first):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(set(children(hub)) - {ingest, first}) == 3)

        wait_for(lambda: hub.request("GET", "/readyz")[0] == 200)
        assert hub.request("POST", "/fhir/Patient", PATIENT)[0] == 201
        socket.create_connection(_split(hub.addresses["mllp"]), timeout=60).close()


def test_children_do_not_outlive_a_supervisor_that_was_killed(tmp_path):
    with running_hub(tmp_path / "data") as hub:
        assert set(ingest_and_workers(hub)) < set(hub.alive())
        hub.process.kill()

        wait_for(lambda: not hub.alive())
    with running_hub(tmp_path / "data") as again:
        assert again.request("GET", "/readyz")[0] == 200


def test_a_second_hub_on_the_same_folder_is_refused(hub):
    code, said = refused("--data", str(hub.data), "--http", "127.0.0.1:0")

    assert code == 2
    assert said == [
        f"yilian: another hub runs on the data folder {hub.data};"
        " stop it or choose another folder with --data"
    ]


def test_an_address_in_use_is_refused(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, said = refused("--data", str(tmp_path / "data"), "--http", address)

    assert code == 2
    assert said == [f"yilian: --http: cannot listen on {address}: Address already in use"]


def test_an_mllp_address_in_use_is_refused(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        http = ["--http", "127.0.0.1:0"]
        code, said = refused("--data", str(tmp_path / "data"), *http, "--mllp", address)

    assert code == 2
    assert said[0].startswith(f"yilian: --mllp: cannot listen on {address}: ")


def test_http_beyond_this_machine_is_refused(tmp_path):
    code, said = refused("--data", str(tmp_path / "data"), "--http", "0.0.0.0:8080")

    assert code == 2
    assert len(said) == 1
    assert "no sign-in yet" in said[0]
    assert not (tmp_path / "data").exists()


def test_settings_come_from_the_file_in_the_current_folder(tmp_path):
    (tmp_path / "yilian.toml").write_text('workers = "many"\n')

    assert refused(cwd=tmp_path) == (
        2,
        ["yilian: workers (yilian.toml): 'many' is not usable; expected 1 to 256"],
    )


def test_a_database_that_cannot_be_reached_is_one_clear_line_without_the_password(tmp_path):
    url = f"postgresql://me:swordfish@/x?host={tmp_path}"
    code, said = refused("--data", str(tmp_path / "d"), "--http", "127.0.0.1:0", "--database", url)

    assert code == 2
    assert said == ["yilian: the PostgreSQL server cannot be reached"]


def test_files_are_their_owners_alone(hub):
    open_to_others = []
    for path in hub.data.rglob("*"):
        with suppress(FileNotFoundError):  # one that came and went
            if path.stat().st_mode & 0o077:
                open_to_others.append(path.name)

    assert open_to_others == []


def test_a_patients_values_reach_no_log_metric_or_error(hub):
    patient = marker_patient()
    broken = patient | {"birthDate": patient["name"][0]["family"]}
    assert hub.request("POST", "/fhir/Patient", patient)[0] == 201
    answers = [
        hub.request("POST", "/fhir/Patient", broken),
        hub.request("GET", "/fhir/Patient?birthdate=Biaojiren"),
        hub.request("GET", "/fhir/Patient/Biaojiren"),
        hub.request("GET", "/metrics"),
        hub.request("POST", "/fhir/Biaojiren", patient),
    ]

    assert [status for status, _, _ in answers] == [400, 400, 404, 200, 404]
    assert not [body for _, _, body in answers if b"Biaojiren" in body]
    assert "Biaojiren" not in hub.log.read_text()
