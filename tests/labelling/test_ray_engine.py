"""`labelfree label --engine ray` on a cluster of two local nodes."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from labelfree.cli.main import main
from labelfree.runtime.crew import Answer
from labelfree.runtime.ray_cluster import RayWorker
from labelfree_lab.rooms.dataset import LabSize, write_room

OPTIONS = ["--recipe", "rooms", "--labels.image_size=[48,64]", "--teachers.sam_options.points_per_side=4"]


class Victim(RayWorker):
    """The first worker that has a second part is killed."""

    hired = killed = parts = 0

    def open(self) -> Future[Answer]:
        Victim.hired += 1
        self.opened = super().open()
        return self.opened

    def work(self, task: object) -> Future[Answer]:
        answer = super().work(task)
        self.parts += 1
        if self.parts == 2 and not Victim.killed:
            found = re.match(r"process (\d+) ", self.opened.result().value)
            assert found is not None
            os.kill(int(found[1]), signal.SIGKILL)
            Victim.killed += 1
        return answer


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rooms of three images, so that pairs of frames span them."""
    folder = tmp_path_factory.mktemp("data") / "rooms"
    for seed in (3, 4):
        write_room(folder / f"room-{seed}", room_seed=seed, views=3, size=LabSize())
    return folder


@pytest.mark.slow
def test_a_cluster_with_a_killed_worker_writes_the_cache_of_one_process(
    rooms: Path,
    ray_address: str,
    tmp_path: Path,
    one_thread: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    label = ["label", str(rooms), *OPTIONS]
    assert main([*label, "--out", str(tmp_path / "serial" / "out")]) == 0
    monkeypatch.setattr("labelfree.cli.engines.RayWorker", Victim)
    on_ray = ["--engine", "ray", "--ray-address", ray_address]
    assert main([*label, "--out", str(tmp_path / "ray" / "out"), *on_ray]) == 0
    assert Victim.killed == 1
    assert Victim.hired >= 3
    assert "label: 6/6" in capsys.readouterr().err
    written, serial = contents(tmp_path / "ray"), contents(tmp_path / "serial")
    assert written.keys() == serial.keys()
    assert [name for name in serial if written[name] != serial[name]] == []
    assert len([name for name in serial if re.match(r"cache/(masks|labels|clip|sam)-", name)]) == 4 * (6 + 1)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file, without locks and notes."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_worker_of_more_cpus_than_any_machine_is_refused(
    room: Path, ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    on_ray = ["--out", str(tmp_path / "out"), "--engine", "ray", "--ray-address", ray_address]
    assert main(["label", str(room), *OPTIONS, *on_ray]) == 2
    assert "no machine of the Ray cluster has 4 CPUs for a worker: lower --threads" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--workers", "2"], "--workers is 2 but --engine is local: add --engine ray"),
        (["--engine", "ray", "--workers", "0"], "--workers is 0: give at least 1"),
        (["--engine", "ray", "--device", "cuda:1"], "give auto, cpu or cuda; Ray chooses GPUs"),
        (["--engine", "ray", "--ray-address", "10.0.0.1"], "give auto, local or HOST:PORT"),
        (["--engine", "ray", "--ray-address", "127.0.0.1:1"], "no answer"),
    ],
)
def test_bad_input_is_one_sentence(
    given: list[str], message: str, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    assert main(["label", str(room), "--out", str(tmp_path / "out"), *given]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_an_address_of_another_program_is_refused(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.recv(99)
        connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        on_ray = ["--out", str(tmp_path / "out"), "--engine", "ray", "--ray-address", address]
        assert main(["label", str(room), *on_ray]) == 2
    assert "another program than Ray listens there" in capsys.readouterr().err


def test_without_ray_the_extra_is_named(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("labelfree.runtime.ray_cluster.find_spec", lambda name: None)
    assert main(["label", str(room), "--out", str(tmp_path / "out"), "--engine", "ray"]) == 2
    assert "--engine ray needs Ray: pip install 'labelfree[ray]'." in capsys.readouterr().err
