"""Building the wheel: what lies beside `app` in a checkout travels inside it.

`app/paths.py` finds the folders in both places. Everything else stands in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("mappings", "profiles", "fixtures")


class BuildWithData(build_py):
    """Copy the shipped folders into the package, in the build tree only."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # the checkout's own folders are used
        for name in SHIPPED:
            target = Path(self.build_lib, "app", "_data", name)
            if target.exists():
                shutil.rmtree(target)  # a file that was removed must not come back
            if Path(name).is_dir():
                shutil.copytree(name, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


setup(cmdclass={"build_py": BuildWithData})
