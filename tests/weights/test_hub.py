"""A folder or a model on the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelfree.errors import InputError
from labelfree.weights import hub
from labelfree.weights.hub import folder_or_hub_name


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models" / "my-clip").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_meant(here: Path) -> None:
    assert folder_or_hub_name("models/my-clip", "weights") == Path("models/my-clip")
    assert folder_or_hub_name(here / "models", "weights") == here / "models"
    assert folder_or_hub_name("openai/clip-vit-base-patch16", "weights") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models/my-clop", "did you mean 'models/my-clip'"),
        ("model/my-clip/x", "did you mean 'models'"),
        ("strets", "did you mean 'streets'"),
        ("./owner/model", "no such folder"),
        ("owner/my model", "no such folder"),
        ("~no-such-user/model", "no such user"),
        ("x" * 5000, "no such folder"),
    ],
)
def test_a_misspelt_folder_is_no_name_on_the_hub(here: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        folder_or_hub_name(name, "weights")


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def model_info(self: object, name: str, timeout: float) -> None:
        asked.append(timeout)
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    hub.hub_answers.cache_clear()
    assert [hub.hub_answers("owner/model") for _ in range(3)] == [False] * 3
    assert asked == [hub.HUB_TIMEOUT_S]
    hub.hub_answers.cache_clear()
