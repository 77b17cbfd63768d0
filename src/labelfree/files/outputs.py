"""Output folders of verbs, in which only files that labelfree made are overwritten."""

from __future__ import annotations

import os
import platform
import posixpath
import stat
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from labelfree.errors import InputError
from labelfree.files.decoding import reason
from labelfree.files.leftovers import clean
from labelfree.files.presence import is_there

RECORD = ".labelfree-outputs"
"""Prefix of the names of records; the machine's name follows."""
LONGEST_NAME = 200
"""Longest file name in bytes; file systems allow 255, and temporary names need some of them."""
LARGEST_RECORD = 1 << 28
"""Bytes of a record that are read at once, enough for millions of names."""
_SAFE = "/ ()+,=@"


class OutputFolder:
    """An output folder with a record of the files that labelfree made in it.

    The record is a hidden text file with one percent-encoded relative path per line. Lines are appended before the
    files are written, so that a killed command can be repeated. Each machine has its own record, because appending is
    safe only among processes of one machine. `advice` is the fix in error messages.
    """

    def __init__(self, root: Path, advice: str = "give another --out") -> None:
        self.root = Path(root)
        self.advice = advice
        self._made: set[str] = set()
        self._read_to: dict[Path, int] = {}
        self._cleaned: set[str] = set()

    def claim(self, files: Iterable[Path], inputs: Iterable[Path] = (), image_folders: Iterable[Path] = ()) -> None:
        """Record files that will be written into this folder.

        Raises an InputError before any file is written if one exists that labelfree did not make, is one of `inputs`,
        is named twice, or cannot be written. `image_folders` are folders whose files are claimed later; existing PNG
        files in them must be labelfree's too.
        Temporary files of killed processes are removed wherever labelfree has written in this folder.
        """
        names = self._names(files)
        self._refuse_inputs(names, inputs)
        self._refuse_places(names)
        there = [name for name in names if is_there(self.root / name)]
        for folder in image_folders:
            there += self._names(path for path in folder.glob("*.png") if is_there(path))
        made = self._recorded()  # after looking for the files: another process records them before it writes them
        foreign = [name for name in there if name not in made]
        if foreign:
            raise InputError(self._foreign(foreign))
        self._clean(names if self._cleaned else [*made, *names])
        self._record([name for name in names if name not in made])

    def discard(self, files: Iterable[Path]) -> None:
        """Delete outputs of an earlier command; files that labelfree did not make are kept."""
        made = self._recorded()
        for name in self._names(files):
            if name in made:
                (self.root / name).unlink(missing_ok=True)

    def _clean(self, names: Iterable[str]) -> None:
        """Remove what killed processes left beside files of these names, and in this folder itself."""
        folders = {"", *(posixpath.dirname(name) for name in names)}
        for folder in folders - self._cleaned:
            if ".." not in folder.split("/"):  # not in a record that labelfree wrote
                clean(self.root / folder)
        self._cleaned |= folders

    def _names(self, files: Iterable[Path]) -> list[str]:
        """Return paths relative to this folder. Raises an InputError if one is repeated, outside of it or too long."""
        root = os.path.abspath(self.root)
        names: dict[str, None] = {}
        for path in files:
            name = Path(os.path.relpath(os.path.abspath(path), root)).as_posix()
            parts = name.split("/")
            if parts[0] in ("..", ".") or os.path.isabs(name):
                raise InputError(f"{path}: is outside of {self.root}; rename the scene or frame that it belongs to.")
            longest = max(parts, key=len)
            if len(os.fsencode(longest)) > LONGEST_NAME:
                raise InputError(f"{path}: '{longest[:40]}...' is longer than {LONGEST_NAME} bytes; shorten the name.")
            if name in names:
                raise InputError(f"{path}: two inputs would be written to this file; rename one of them.")
            names[name] = None
        return list(names)

    def _refuse_inputs(self, names: Iterable[str], inputs: Iterable[Path]) -> None:
        given = {os.path.realpath(path) for path in inputs}
        for name in names if given else ():
            if os.path.realpath(self.root / name) in given:
                raise InputError(f"{self.root / name}: is an input, which would be overwritten; {self.advice}.")

    def _refuse_places(self, names: Iterable[str]) -> None:
        """Raise an InputError if an output's folder is a file or is not writable."""
        for folder in dict.fromkeys((self.root / name).parent for name in names):
            nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place) or place == Path())
            if not nearest.is_dir():
                raise InputError(f"{nearest}: is a file where a folder is expected; {self.advice}.")
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise InputError(f"{nearest}: no permission to write in this folder; {self.advice}.")

    def _foreign(self, names: list[str]) -> str:
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        return (
            f"{self.root / names[0]}{more}: already exists and is not in the folder's record of files that labelfree "
            f"made ({RECORD}*), so it is not overwritten; {self.advice}, or move or delete it."
        )

    def _recorded(self) -> set[str]:
        """Return the names in all records; only lines added since the last call are read."""
        try:
            for path in self.root.glob(f"{RECORD}*"):
                _require_record(path)
                with path.open("rb") as file:
                    file.seek(self._read_to.get(path, 0))
                    whole, _, rest = file.read(LARGEST_RECORD).rpartition(b"\n")
                    self._read_to[path] = file.tell() - len(rest)
                self._made.update(os.fsdecode(unquote_to_bytes(line)) for line in whole.split(b"\n"))
        except OSError as error:
            raise InputError(f"{self.root}: cannot be read ({reason(error)}); {self.advice}.") from error
        return self._made

    def _record(self, names: list[str]) -> None:
        if not names:
            return
        path = self.root / f"{RECORD}-{quote(platform.node(), safe='')[:80]}"
        # The first line break ends a line that a full disk has cut off.
        lines = b"\n" + b"".join(quote_from_bytes(os.fsencode(name), safe=_SAFE).encode() + b"\n" for name in names)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                written = file.write(lines)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({reason(error)}); free the disk or {self.advice}.") from error
        if written != len(lines):
            raise InputError(f"{path}: cannot be written (the disk is full); free the disk or {self.advice}.")


def _require_record(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise InputError(f"{path}: is not a regular file, as the record of outputs must be; delete it.")
