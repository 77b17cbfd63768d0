from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from labelfree.errors import InputError
from labelfree.files.outputs import RECORD, OutputFolder
from labelfree.results.export import claim_scenes


def test_only_files_made_here_are_written_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    OutputFolder(out).claim([out / "a.png", out / "in/b.png"])
    (out / "a.png").write_text("labels")
    OutputFolder(out).claim([out / "a.png", out / "c.png"])
    for name in ("mine.png", "mine too.png"):
        (out / name).write_text("a photo")
    with pytest.raises(InputError, match=r"mine\.png \(and 1 more\): already exists .* give another --to, or move"):
        OutputFolder(out, "give another --to").claim([out / "new.png", out / "mine.png", out / "mine too.png"])
    OutputFolder(out).claim([out / "new.png"])


def test_a_link_in_the_place_of_an_output_is_a_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="already exists"):
        OutputFolder(tmp_path).claim([tmp_path / "a.png"])


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    outputs, linked = OutputFolder(tmp_path), tmp_path / "linked"
    outputs.claim([tmp_path / "a.png"])
    (tmp_path / "a.png").touch()
    linked.symlink_to(tmp_path)
    with pytest.raises(InputError, match="is an input"):
        outputs.claim([tmp_path / "a.png"], inputs=[linked / "a.png"])


@pytest.mark.parametrize(
    ("name", "message"), [("../x.png", "outside"), ("../../x/y.png", "outside"), ("n" * 300 + ".png", "longer than")]
)
def test_names_stay_inside_and_short(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        OutputFolder(tmp_path / "out").claim([tmp_path / "out" / name])
    assert not (tmp_path / "out").exists()


def test_two_outputs_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two inputs"):
        OutputFolder(tmp_path).claim([tmp_path / "a.png", tmp_path / "b" / ".." / "a.png"])


def test_files_in_the_place_of_folders(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    for place in ("out", "out/points"):
        with pytest.raises(InputError, match="out: is a file where a folder is expected"):
            OutputFolder(tmp_path / "out").claim([tmp_path / place / "a.ply"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission to write"):
        OutputFolder(tmp_path / "out").claim([tmp_path / "out" / "a.png"])


def test_any_name_can_be_recorded_and_damage_makes_files_foreign(tmp_path: Path) -> None:
    odd = [tmp_path / name for name in ("a\nb.png", "caf\u00e9 %41.png", os.fsdecode(b"\xff.png"))]
    OutputFolder(tmp_path).claim(odd)
    for path in odd:
        path.touch()
    OutputFolder(tmp_path).claim(odd)
    (record,) = tmp_path.glob(f"{RECORD}*")
    record.write_bytes(record.read_bytes()[:-8])
    with pytest.raises(InputError, match="already exists"):
        OutputFolder(tmp_path).claim(odd)


def test_a_record_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / RECORD)
    with pytest.raises(InputError, match="not a regular file"):
        OutputFolder(tmp_path).claim([tmp_path / "a.png"])


def test_discard_deletes_only_what_was_made_here(tmp_path: Path) -> None:
    outputs = OutputFolder(tmp_path)
    outputs.claim([tmp_path / "a.png", tmp_path / "b.png"])
    for name in ("a.png", "c.png"):
        (tmp_path / name).touch()
    outputs.discard(tmp_path / name for name in ("a.png", "b.png", "c.png"))
    assert [path.name for path in tmp_path.glob("*.png")] == ["c.png"]


def claim_many(root: Path, worker: int) -> None:
    outputs = OutputFolder(root)
    for number in range(50):
        outputs.claim([root / f"{worker}/{number}-{'x' * 100}.png", root / "shared.png"])


def test_processes_that_claim_at_once_leave_a_whole_record(tmp_path: Path) -> None:
    workers = [multiprocessing.get_context("fork").Process(target=claim_many, args=(tmp_path, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    names = [tmp_path / f"{worker}/{number}-{'x' * 100}.png" for worker in range(4) for number in range(50)]
    for path in names:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    OutputFolder(tmp_path).claim([*names, tmp_path / "shared.png"])


def test_scenes_are_claimed_without_being_built(tmp_path: Path) -> None:
    claim_scenes(OutputFolder(tmp_path), ["one", "two"], ["results.json"])
    for name in ("points/one.ply", "results.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    claim_scenes(OutputFolder(tmp_path), ["one", "two"], ["results.json"])
    with pytest.raises(InputError, match=r"Scenes 'room\?1' and 'room_1' would both be saved as 'room_1'"):
        claim_scenes(OutputFolder(tmp_path), ["room?1", "room_1"])
    (tmp_path / "pixels" / "two").mkdir(parents=True)
    (tmp_path / "pixels" / "two" / "photo.png").touch()
    with pytest.raises(InputError, match=r"photo\.png: already exists"):
        claim_scenes(OutputFolder(tmp_path), ["one", "two"])
