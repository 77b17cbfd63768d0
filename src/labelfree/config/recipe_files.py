"""Recipe files: shipped ones by name, others by path."""

from __future__ import annotations

from pathlib import Path

from labelfree.errors import InputError

RECIPES_DIR = Path(__file__).parent / "recipes"


def recipe_path(name: str | Path) -> Path:
    """Return the file of a recipe, given by name (`rooms`, `scannet`) or by path. Raises an InputError if missing."""
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise InputError(f"{path}: no such recipe file; check the path.")
        return path
    shipped = RECIPES_DIR / f"{name}.yaml"
    if not shipped.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES_DIR.glob("*.yaml")))
        raise InputError(f"There is no recipe '{name}'; shipped are {known}, or give the path of a YAML file.")
    return shipped
