"""benchmarks/check_dist.py finds files that a distribution lacks or has too much; the container file is consistent."""

from __future__ import annotations

import re
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from benchmarks import check_dist
from benchmarks.install_check import TORCH

ROOT = Path(__file__).parents[1]
FILES = {"src/labelfree/__init__.py", "src/labelfree/py.typed", "src/labelfree_lab/weights/rooms-clip/config.json"}
METADATA = [f"labelfree-1.dist-info/{name}" for name in check_dist.METADATA]
WHEEL = [*(name.removeprefix("src/") for name in FILES), *METADATA]
SDIST = [*FILES, "pyproject.toml", "PKG-INFO", "docs/method.md", "examples/camvid.yaml"]


def archives(folder: Path, wheel: list[str], sdist: list[str]) -> Path:
    with zipfile.ZipFile(folder / "labelfree-1-py3-none-any.whl", "w") as file:
        for name in wheel:
            file.writestr(name, "")
    with tarfile.open(folder / "labelfree-1.tar.gz", "w:gz") as file:
        for name in sdist:
            file.addfile(tarfile.TarInfo(f"labelfree-1/{name}"), BytesIO())
    return folder


def test_what_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_dist, "package_files", lambda root: FILES)
    assert check_dist.check(archives(tmp_path, WHEEL, SDIST)) == []
    (tmp_path / "labelfree-1.tar.gz").unlink()
    assert check_dist.check(tmp_path) == [f"{tmp_path}: holds 1 wheels and 0 source archives, expected one of each"]


@pytest.mark.parametrize(
    ("lost", "added", "problem"),
    [
        ("labelfree/py.typed", None, "the wheel lacks labelfree/py.typed"),
        ("labelfree-1.dist-info/licenses/LICENSE", None, "the wheel lacks licenses/LICENSE in its dist-info"),
        (None, "labelfree_lab/weights/rooms-clip-b/model.safetensors", "the wheel should not have labelfree_lab/wei"),
        (None, "tests/conftest.py", "the wheel should not have tests/conftest.py"),
        (None, "results/tables/table1.json", "the wheel should not have results/tables/table1.json"),
    ],
)
def test_a_wrong_wheel(lost: str | None, added: str | None, problem: str) -> None:
    names = [name for name in [*WHEEL, *([added] if added else [])] if name != lost]
    (found,) = check_dist.wheel_problems(names, FILES, 1)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("lost", "added", "problem"),
    [
        ("src/labelfree/py.typed", None, "the source archive lacks src/labelfree/py.typed"),
        (None, "results/tables/table1.json", "the source archive should not have results/tables/table1.json"),
        (None, "tests/conftest.py", "the source archive should not have tests/conftest.py"),
        (None, "src/labelfree_lab/weights/rooms-sam-b/config.json", "the source archive should not have src/labelfree"),
    ],
)
def test_a_wrong_source_archive(lost: str | None, added: str | None, problem: str) -> None:
    names = [name for name in [*SDIST, *([added] if added else [])] if name != lost]
    (found,) = check_dist.sdist_problems(names, FILES)
    assert found.startswith(problem)


def test_a_wheel_too_large() -> None:
    assert check_dist.wheel_problems(WHEEL, FILES, 41_000_000) == ["the wheel has 41.0 MB, at most 40 MB are allowed"]


def test_the_files_of_the_packages() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a checkout")
    files = check_dist.package_files(ROOT)
    for name in ("labelfree/py.typed", "labelfree/config/recipes/quick.yaml", "labelfree/vocabularies/scannet20.yaml"):
        assert f"src/{name}" in files
    for world in ("rooms", "streets"):
        assert f"src/labelfree_lab/weights/{world}-clip/model.safetensors" in files
    assert not any("-b/" in name for name in files)
    assert sum((ROOT / name).stat().st_size for name in files) < check_dist.LARGEST_WHEEL


def test_the_container_file_fits_the_repository() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for name in line.split()]
    assert len(copied) == 5
    assert all((ROOT / name).exists() for name in copied)
    assert TORCH in text
    assert TORCH in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["labelfree"]
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert all(f"!{name}\n" in kept for name in copied)
