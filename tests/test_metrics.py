"""/metrics: requests counted over all processes, by labels of ours only."""

from tests.support import running_hub


def numbers(hub):
    text = hub.request("GET", "/metrics")[2].decode()
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in rows}


def test_requests_of_all_workers_are_counted_by_method_and_status(tmp_path):
    with running_hub(tmp_path / "data") as hub:
        for _ in range(20):  # each a connection of its own, so both workers answer some
            hub.request("GET", "/fhir/Patient/none")
        hub.request("POST", "/fhir/Patient", {"resourceType": "Patient"})
        hub.request("SHUTDOWN", "/fhir/Patient")
        found = numbers(hub)

    count = "yilian_http_request_seconds_count"
    assert found[f'{count}{{method="GET",status="404"}}'] == 20
    assert found[f'{count}{{method="POST",status="201"}}'] == 1
    assert not [name for name in found if "SHUTDOWN" in name]


def test_numbers_begin_at_nothing_with_each_start(tmp_path):
    with running_hub(tmp_path / "data") as hub:
        hub.request("DELETE", "/fhir/Patient/none")
    with running_hub(tmp_path / "data") as again:
        assert not [name for name in numbers(again) if 'method="DELETE"' in name]
