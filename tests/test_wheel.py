"""The wheel is whole: built from the source distribution, it runs from any folder.

Dependencies are borrowed from this environment by a path file; only Yilian itself is installed.
"""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support import ROOT, running_hub
from tests.test_demo import demonstrated

_BUILD_SDIST = "import setuptools.build_meta as b; print(b.build_sdist('dist'))"
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"]
    for name in run(*tracked, cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    sdist = run(sys.executable, "-W", "ignore", "-c", _BUILD_SDIST, cwd=source).split()[-1]
    with tarfile.open(source / "dist" / sdist) as archive:
        for member in archive.getmembers():
            if member.isfile():  # `extractall` has no filter before Python 3.11.4, and wants one
                unpacked = folder / "unpacked" / member.name
                unpacked.parent.mkdir(parents=True, exist_ok=True)
                unpacked.write_bytes(archive.extractfile(member).read())
    (unpacked,) = (folder / "unpacked").iterdir()
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    run(*_PIP, "wheel", *flags, ".", cwd=unpacked)
    (built,) = folder.glob("yilian-*.whl")
    return built


@pytest.fixture(scope="module")
def yilian(wheel, tmp_path_factory):
    """The installed command, in an environment of its own."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(home), cwd=wheel.parent)
    python = home / "bin" / "python"
    flags = ["install", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    run(*_PIP, "--python", str(python), *flags, cwd=wheel.parent)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "yilian"


def test_the_wheel_puts_nothing_but_app_beside_other_packages(wheel):
    with ZipFile(wheel) as archive:
        names = archive.namelist()

    assert {name.split("/")[0].split("-")[0] for name in names} == {"app", "yilian"}
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]


@pytest.mark.parametrize("folder", ["mappings", "profiles", "fixtures", "app"])
def test_the_wheel_carries_every_file_of(folder, wheel):
    inside = "app" if folder == "app" else f"app/_data/{folder}"
    listed = run("git", "-c", "safe.directory=*", "ls-files", "-z", folder, cwd=ROOT).split("\0")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())

    missing = [
        name
        for name in listed
        if (ROOT / name).is_file() and name.replace(folder, inside, 1) not in names
    ]
    assert not missing


def test_the_installed_command_finds_its_data_and_is_not_the_checkout(yilian, tmp_path):
    code = "import app.paths as p; print(p.__file__, p.shipped('mappings'))"
    file, mappings = run(str(yilian.with_name("python")), "-c", code, cwd=tmp_path).split()

    assert not file.startswith(str(ROOT / "app"))
    assert Path(mappings).is_dir()
    assert "yilian COMMAND" in run(str(yilian), "--help", cwd=tmp_path)


def test_the_installed_hub_serves_from_any_folder(yilian, tmp_path):
    with running_hub(tmp_path / "data", command=[str(yilian)], cwd=tmp_path) as hub:
        status, _, body = hub.request("GET", "/fhir/metadata")

        assert status == 200
        assert b'"CapabilityStatement"' in body
        assert hub.stop() == 0


def test_the_installed_demo_runs_where_another_app_lies(yilian, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('the wrong app')")

    with demonstrated(tmp_path / "data", command=[str(yilian)], cwd=tmp_path) as (process, text):
        assert "CT study" in text
        assert "the patient" in text
    assert process.returncode == 0
