from __future__ import annotations

import pkgutil
import subprocess
import sys

import labelfree

EXTRAS = (
    *("tensorboard", "ray", "laspy", "lazrs", "rosbags", "viser", "mkdocs", "nbclient"),
    *("pycolmap", "pycocotools", "playwright", "torchvision", "cv2", "scipy", "open3d", "matplotlib"),
)
"""Neither the extras nor what must never be needed."""

BLOCK_AND_IMPORT = """
import importlib, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {extras!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
for name in {modules!r}:
    importlib.import_module(name)
"""


def test_every_module_imports_with_the_core_alone() -> None:
    modules = [
        module.name
        for module in pkgutil.walk_packages(labelfree.__path__, "labelfree.")
        if not module.name.endswith("__main__")
    ]
    assert len(modules) > 60
    code = BLOCK_AND_IMPORT.format(extras=set(EXTRAS), modules=modules)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]


def test_import_alone_is_light() -> None:
    code = "import sys, labelfree; print(any(name in sys.modules for name in ('torch', 'transformers', 'plotly')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
