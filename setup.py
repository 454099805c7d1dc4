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
        if self.editable_mode:
            super().run()
            return  # the checkout's own folders are used
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what was removed must not come back
        super().run()
        for name in SHIPPED:
            target = Path(self.build_lib, "app", "_data", name)
            if Path(name).is_dir():
                shutil.copytree(name, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


setup(cmdclass={"build_py": BuildWithData})
