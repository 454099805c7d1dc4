"""The data folder: private, one hub at a time, one secret that stays."""

import json
import stat

import pytest

from app.errors import Invalid, Unavailable
from app.folder import Folder


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_secret_are_its_owners_alone(tmp_path):
    folder = Folder(tmp_path / "a" / "data")
    folder.id_key()
    folder.announce({"http": "127.0.0.1:1"})

    assert mode(folder.path) == 0o700
    assert mode(folder.path / "id.key") == 0o600
    assert mode(folder.path / "hub.json") == 0o600
    folder.close()


def test_the_secret_is_made_once_and_kept(tmp_path):
    first = Folder(tmp_path)
    key = first.id_key()
    first.close()
    second = Folder(tmp_path)

    assert second.id_key() == key
    assert len(key) == 64
    second.close()


def test_a_second_hub_on_the_folder_is_refused_until_the_first_has_ended(tmp_path):
    first = Folder(tmp_path)

    with pytest.raises(Unavailable, match="another hub runs on the data folder"):
        Folder(tmp_path)

    first.close()
    Folder(tmp_path).close()


def test_one_database_file_has_one_hub_whatever_its_folder_and_name(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "a")
    first = Folder(tmp_path / "a", tmp_path / "a" / "yilian.db")

    with pytest.raises(Unavailable, match="writes the database"):
        Folder(tmp_path / "b", tmp_path / "alias" / "yilian.db")
    Folder(tmp_path / "b", tmp_path / "b" / "yilian.db").close()

    first.close()
    Folder(tmp_path / "b", tmp_path / "a" / "yilian.db").close()


def test_a_database_in_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Invalid, match="cannot be used"):
        Folder(tmp_path / "b", tmp_path / "none" / "yilian.db")

    Folder(tmp_path / "b").close()


def test_the_addresses_are_there_only_while_the_hub_runs(tmp_path):
    folder = Folder(tmp_path)
    folder.announce({"http": "127.0.0.1:8080"})

    assert json.loads((tmp_path / "hub.json").read_text()) == {"http": "127.0.0.1:8080"}
    folder.close()
    assert not (tmp_path / "hub.json").exists()


def test_a_damaged_secret_is_refused_rather_than_replaced(tmp_path):
    folder = Folder(tmp_path)
    (tmp_path / "id.key").write_text("")

    with pytest.raises(Invalid, match="put back the copy"):
        folder.id_key()
    folder.close()


def test_a_place_that_cannot_be_used_is_said_clearly(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(Invalid, match="cannot be used"):
        Folder(tmp_path / "file")
