"""`yilian load` against a running hub: what it loads is there at once, what is wrong is told."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest

from app import load
from app.hub import Hub
from app.terminology.stored.catalogue import Stored
from app.terminology.types import Selection
from tests.terminology import robots

PATIENT = {"resourceType": "Patient", "id": "p1", "active": True}


@pytest.fixture
def run(hub, monkeypatch, capsys):
    """Call the command for the hub of the test; return exit code, output and complaints."""
    database = hub.process.args[hub.process.args.index("--database") + 1]

    def run(*argv):
        out = io.StringIO()
        where = ["--data", str(hub.data), "--database", database]
        code = load.main([*map(str, argv), *where], io.BytesIO(), out)
        return code, out.getvalue(), capsys.readouterr().err

    monkeypatch.setenv("COLUMNS", "200")
    run.database = database
    return run


def stored(hub, run, url):
    """Return the ready versions of a code system as another process sees them."""
    with Hub.open(run.database, data=hub.data) as other:
        return [
            (s.header.get("version"), list(s.select(Selection())))
            for s in Stored(other.store).systems(url)
        ]


def body(hub, path):
    status, _, content = hub.request("GET", f"/fhir/{path}")
    assert status == 200, content
    return json.loads(content)


def test_resources_bundles_lines_and_packages(hub, run, tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(PATIENT))
    bundle = {"resourceType": "Bundle", "type": "collection"}
    bundle["entry"] = [{"resource": {**PATIENT, "id": "p2"}}]
    (tmp_path / "bundle.json").write_text(json.dumps(bundle))
    transaction = {"resourceType": "Bundle", "type": "transaction"}
    transaction["entry"] = [
        {"resource": {**PATIENT, "id": "p3"}, "request": {"method": "PUT", "url": "Patient/p3"}}
    ]
    (tmp_path / "transaction.json").write_text(json.dumps(transaction))
    lines = [json.dumps({**PATIENT, "id": f"n{n}"}) for n in range(250)]
    with gzip.open(tmp_path / "many.ndjson.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as package:
        for name in ("package/package.json", "package/Patient-k.json", "package/example/x.json"):
            content = json.dumps({**PATIENT, "id": "k" if "k." in name else "x"}).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))

    code, out, err = run(tmp_path)

    assert (code, err) == (0, "")
    assert "many.ndjson.gz: 250 created" in out
    assert "p.tgz: 1 created" in out
    for id_ in ("p1", "p2", "p3", "n0", "n249", "k"):
        assert body(hub, f"Patient/{id_}")["active"] is True
    assert hub.request("GET", "/fhir/Patient/x")[0] == 404


def test_what_is_wrong_is_told_with_its_line_and_the_rest_is_loaded(hub, run, tmp_path):
    lines = [
        json.dumps({**PATIENT, "id": "w1"}),
        "{nonsense",
        "",
        json.dumps({**PATIENT, "id": "w2", "gender": 7}),
        json.dumps({**PATIENT, "id": "w3"}),
    ]
    (tmp_path / "w.ndjson").write_text("\n".join(lines))

    code, out, err = run(tmp_path / "w.ndjson")

    assert code == 1
    assert "w.ndjson: 2 created" in out
    assert "w.ndjson:2: this is no FHIR resource in JSON" in err
    assert "w.ndjson:4 Patient.gender" in err
    assert body(hub, "Patient/w3")["id"] == "w3"


def test_a_code_list_is_loaded_once_and_again_when_it_has_changed(hub, run, tmp_path):
    path = tmp_path / "icd.csv"
    options = ("--url", "urn:icd", "--version", "2.0", "--by-prefix")
    path.write_bytes("code,display\nI10,高血压\nI10.x00,原发\n".encode("gb18030"))

    first = run(path, *options)
    second = run(path, *options)
    path.write_text("code,display\nI10,高血压\nJ18,肺炎\n")
    third = run(path, *options)

    assert first == (0, "icd.csv: urn:icd 2.0: 2 concepts\n", "")
    assert second == (0, "icd.csv: loaded already\n", "")
    assert third[0] == 0
    assert stored(hub, run, "urn:icd") == [("2.0", ["I10", "J18"])]
    (entry,) = body(hub, "CodeSystem?url=urn:icd")["entry"]
    assert entry["resource"]["content"] == "not-present"
    assert entry["resource"]["count"] == 2
    assert "concept" not in entry["resource"]


def test_a_list_with_mistakes_changes_nothing(hub, run, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("code,parent\na,\na,\nb,x\n")

    code, out, err = run(path, "--url", "urn:bad")

    assert (code, out) == (1, "")
    assert "bad.csv:3: this code is there already" in err
    assert "bad.csv:4: the parent is no concept here" in err
    assert stored(hub, run, "urn:bad") == []


def test_a_large_code_system_goes_to_tables_and_a_small_one_stays_a_resource(hub, run, tmp_path):
    def system(url, count):
        concepts = [{"code": f"c{n}", "concept": [{"code": f"c{n}.1"}]} for n in range(count // 2)]
        return {
            "resourceType": "CodeSystem",
            "url": url,
            "status": "active",
            "content": "complete",
            "concept": concepts,
        }

    (tmp_path / "large.json").write_text(json.dumps(system("urn:large", 5002)))
    (tmp_path / "small.json").write_text(json.dumps(system("urn:small", 4000)))

    code, _, err = run(tmp_path)

    assert (code, err) == (0, "")
    ((_, codes),) = stored(hub, run, "urn:large")
    assert (len(codes), codes[:3]) == (5002, ["c0", "c0.1", "c1"])
    assert stored(hub, run, "urn:small") == []
    (entry,) = body(hub, "CodeSystem?url=urn:small")["entry"]
    assert len(entry["resource"]["concept"]) == 2000


def test_a_release_is_loaded_listed_and_removed(hub, run):
    loaded = run(robots.FOLDER)
    version = "http://snomed.info/sct/9009999999108/version/20260901"

    assert loaded == (0, f"rf2: http://snomed.info/sct {version}: 300 concepts\n", "")
    assert f"http://snomed.info/sct\t{version}\t300\tready\t" in run("--list")[1]
    assert run("--remove", f"http://snomed.info/sct|{version}")[:2] == (0, "1 removed\n")
    assert stored(hub, run, "http://snomed.info/sct") == []
    assert "entry" not in body(hub, "CodeSystem?url=http://snomed.info/sct")


def test_what_cannot_be_loaded_is_told(hub, run, tmp_path):
    (tmp_path / "x.doc").write_text("?")

    assert run(tmp_path / "x.doc") == (1, "", "x.doc: this kind of file cannot be loaded\n")
