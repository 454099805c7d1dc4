"""`yilian id trace`: the links of a code, read from a hub's database."""

from __future__ import annotations

import io
import json

import pytest

from app.errors import Unavailable
from app.registry.indexed import identifier_keys
from app.registry.links import shipped_rules
from app.registry.trace_command import main
from app.store.store import Setting, open_store
from app.store.types import Change, Method


@pytest.fixture
def data(tmp_path):
    """A data folder in which a device belongs to somebody."""
    setting = Setting(identifier_keys=identifier_keys, link_rules=shipped_rules())
    store = open_store(f"sqlite:///{tmp_path / 'yilian.db'}", setting)
    body = b'{"resourceType":"Device","id":"d","owner":{"reference":"Organization/o"}}'
    store.commit([Change(Method.UPDATE, "Device", "d", body)])
    store.close()
    return tmp_path


def ran(data, *argv):
    out = io.StringIO()
    status = main([*argv, "--data", str(data)], io.BytesIO(), out)
    return status, out.getvalue()


def test_a_line_a_link_and_what_is_missing(data):
    status, said = ran(data, "Device/d")

    assert status == 0
    assert [line.split() for line in said.splitlines()] == [
        ["Device/d", "owned-by", "Organization/o"],
        ["gap", "Organization/o", "not-here"],
    ]


@pytest.mark.parametrize("format_", ["json", "csv", "svg"])
def test_other_formats_hold_the_same(data, format_):
    status, said = ran(data, "Organization/o", "--format", format_, "--kinds", "owned-by")

    assert status == 0
    assert "owned-by" in said
    if format_ == "json":
        assert json.loads(said)["edges"][0]["from"] == "Device/d"


def test_an_unknown_code_is_status_1(data):
    assert ran(data, "Device/x")[0] == 1


def test_without_a_database_it_says_so(tmp_path):
    with pytest.raises(Unavailable, match="no database"):
        ran(tmp_path, "Device/d")
