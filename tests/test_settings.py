"""Settings: precedence, all bad values at once, no secret in a message."""

from dataclasses import fields
from pathlib import Path

import pytest

from app import settings
from app.settings import Address, BadSettings, load


def test_defaults_listen_on_this_machine_only():
    found = load([], {}, None)

    assert found.http == Address("127.0.0.1", 8080)
    assert found.mllp == Address("127.0.0.1", 2575)
    assert found.dicom == Address("127.0.0.1", 11112)
    assert found.data == Path("yilian-data")
    assert found.database.startswith("sqlite:////")
    assert found.database.endswith("/yilian-data/yilian.db")


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default():
    file = 'http = "127.0.0.1:1"\nmllp = "127.0.0.1:2"\ndicom = "127.0.0.1:3"'
    environ = {"YILIAN_HTTP": "127.0.0.1:10", "YILIAN_MLLP": "127.0.0.1:20"}

    found = load(["--http", "127.0.0.1:100"], environ, file)

    assert [found.http.port, found.mllp.port, found.dicom.port] == [100, 20, 3]
    assert found.time_zone == "Asia/Shanghai"


def test_all_bad_values_are_reported_at_once_with_name_source_and_what_is_allowed():
    with pytest.raises(BadSettings) as caught:
        load(
            ["--http", "8080"],
            {"YILIAN_WORKERS": "none", "YILIAN_TIME_ZONE": "Mars/Olympus"},
            'rule_clock = "moon"\nspeed = 3',
        )

    assert tuple(issue.text for issue in caught.value.issues) == (
        "speed (yilian.toml): there is no such setting",
        "--http: '8080' is not usable; expected HOST:PORT or off",
        "YILIAN_WORKERS (environment): 'none' is not usable; expected 1 to 256",
        "YILIAN_TIME_ZONE (environment): 'Mars/Olympus' is not usable;"
        " expected an IANA time zone name",
        "rule_clock (yilian.toml): 'moon' is not usable; expected wall or event",
    )


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"YILIAN_ID_SECRET": "swordfish"}, "swordfish"),
        ({"YILIAN_DATABASE_URL": "mysql://me:swordfish@db/x"}, "swordfish"),
        ({"YILIAN_MQTT": "me:swordfish@broker"}, "swordfish"),
    ],
)
def test_a_secret_is_never_repeated_in_a_message(environ, told):
    with pytest.raises(BadSettings) as caught:
        load([], environ, None)

    assert told not in str(caught.value)


@pytest.mark.parametrize("flag", ["--mllp", "--dicom"])
def test_a_stream_listener_beyond_this_machine_needs_allowed_networks(flag):
    with pytest.raises(BadSettings, match="--allow CIDR"):
        load([flag, "0.0.0.0:2575"], {}, None)

    found = load([flag, "0.0.0.0:2575", "--allow", "10.1.0.0/16,192.168.7.9"], {}, None)
    assert [str(network) for network in found.allow] == ["10.1.0.0/16", "192.168.7.9/32"]


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "hospital.example:80"])
def test_http_beyond_this_machine_is_refused_until_there_is_sign_in(address):
    with pytest.raises(BadSettings, match="no sign-in yet"):
        load(["--http", address], {}, None)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:8080", "localhost:9000", "127.9.9.9:1"])
def test_loopback_addresses_are_taken(address):
    assert str(load(["--http", address], {}, None).http) == address


@pytest.mark.parametrize("text", ["", "8080", ":80", "h:", "h:x", "h:70000", "h:-1", "h:８０"])
def test_a_text_that_is_no_address_is_refused(text):
    with pytest.raises(BadSettings, match="expected HOST:PORT or off"):
        load(["--mllp", text], {}, None)


def test_off_switches_a_listener_off():
    assert load(["--mllp", "off"], {"YILIAN_DICOM": "off"}, None).mllp is None


def test_a_file_that_is_not_toml_is_one_clear_line():
    with pytest.raises(BadSettings, match=r"yilian\.toml: .*line 1"):
        load([], {}, "http: 3")


def test_lists_in_the_file_are_read():
    found = load([], {}, 'allow = ["10.0.0.0/8", "fd00::/8"]\nworkers = 3')

    assert len(found.allow) == 2
    assert found.workers == 3


def test_every_field_is_explained_once_in_help_and_table():
    names = [field.name for field in fields(settings.Settings)]
    shown = settings.flags().format_help()
    table = settings.table()

    assert list(settings._HOW) == names
    for name in names:
        how = settings._HOW[name]
        assert f"`{settings.variable(name)}`" in table
        assert how.flag is None or f"{how.flag} VALUE" in shown


@pytest.mark.parametrize(
    ("given", "good"),
    [
        ({"allow_host": "hub.example, H2"}, ("hub.example", "h2")),
        ({"allow_host": "hub.example:80"}, None),
        ({"allow_host": "https://hub.example"}, None),
        ({"allow_origin": "https://a.example:8443,*"}, ("https://a.example:8443", "*")),
        ({"allow_origin": "a.example"}, None),
        ({"allow_origin": "https://a.example/path"}, None),
    ],
)
def test_names_and_origins_are_read_strictly(given, good):
    if good is None:
        with pytest.raises(settings.BadSettings):
            settings.resolve(given, {}, None)
    else:
        (name,) = given
        assert getattr(settings.resolve(given, {}, None), name) == good
