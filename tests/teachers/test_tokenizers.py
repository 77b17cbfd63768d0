from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelfree.errors import InputError
from labelfree.teachers.tokenizers import byte_tokenizer, load_tokenizer, special_ids

BPE_FILE = Path(__file__).parents[3] / "shared/data/clip/bpe_simple_vocab_16e6.txt.gz"

CLIP_TEXT = SimpleNamespace(vocab_size=49408, max_position_embeddings=77, bos_token_id=49406, eos_token_id=49407)

# Ids of OpenAI's own tokenizer.
KNOWN_IDS = [
    ("a photo of a cat", [49406, 320, 1125, 539, 320, 2368, 49407]),
    ("  A  photo of a CAT ", [49406, 320, 1125, 539, 320, 2368, 49407]),
]


def _text(size: int = 300, length: int = 12, start: int = 298, end: int = 299) -> SimpleNamespace:
    return SimpleNamespace(vocab_size=size, max_position_embeddings=length, bos_token_id=start, eos_token_id=end)


@pytest.mark.skipif(not BPE_FILE.is_file(), reason=f"{BPE_FILE} is not here")
@pytest.mark.parametrize(("text", "ids"), KNOWN_IDS)
def test_openai_vocabulary_gives_openai_ids(text: str, ids: list[int]) -> None:
    tokenizer = load_tokenizer("unused/name", BPE_FILE, CLIP_TEXT)
    assert tokenizer.encode(text) == ids
    assert tokenizer([text, text + " or two"]).tolist()[0] == [*ids, 0, 0]
    assert not tokenizer.warnings


def _letters_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary in CLIP's format that knows single letters and one merge."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "at</w>", "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}, [("a", "t</w>")]


@pytest.mark.parametrize("layout", ["tokenizer.json", "vocab.json"])
def test_hugging_face_files_in_the_folder(tmp_path: Path, layout: str) -> None:
    from transformers import CLIPTokenizer

    vocabulary, merges = _letters_vocabulary()
    if layout == "tokenizer.json":
        CLIPTokenizer(vocab=vocabulary, merges=merges).save_pretrained(tmp_path)
    else:
        (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
        (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    text = _text(len(vocabulary), 8, start, end)
    tokenizer = load_tokenizer(tmp_path, None, text)
    assert tokenizer.encode("Cat") == [start, vocabulary["c"], vocabulary["at</w>"], end]
    assert tokenizer(["cat"])[0, :4].tolist() == tokenizer.encode("cat")
    assert load_tokenizer("unused/name", tmp_path, text).encode("cat") == tokenizer.encode("cat")
    with pytest.raises(InputError, match="has 20 ids"):
        load_tokenizer(tmp_path, None, _text(20))


def test_bytes_are_the_last_resort_and_say_so(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tmp_path, None, _text())
    assert tokenizer.encode(" A  bed") == [298, *b"a bed", 299]
    assert "MEANINGLESS" in tokenizer.warnings[0]
    assert str(tmp_path) in tokenizer.warnings[0]


def test_long_sentences_keep_their_end_token() -> None:
    tokenizer = byte_tokenizer(_text(length=6), Path("folder"))
    assert tokenizer(["abcdefgh", "ab"]).tolist() == [[298, *b"abcd", 299], [298, *b"ab", 299, 0, 0]]


@pytest.mark.parametrize(
    ("size", "start", "end", "expected"),
    [
        (300, 298, 299, (298, 299)),
        (49408, 0, 2, (49406, 49407)),  # OpenAI's config files: read at the highest id
        (99, 49406, 49407, (97, 98)),  # defaults left in a small config
        (300, 49406, 7, (6, 7)),
    ],
)
def test_special_ids_fit_the_vocabulary(size: int, start: int, end: int, expected: tuple[int, int]) -> None:
    assert special_ids(_text(size, 12, start, end)) == expected
    ids = byte_tokenizer(_text(size, 12, start, end), Path("folder")).encode("étagère")
    assert max(ids) < size
    assert ids[-1] == expected[1]


@pytest.mark.parametrize("name", ["missing", "empty.gz", "bad.json"])
def test_bad_tokenizer_files_are_named(tmp_path: Path, name: str) -> None:
    if name != "missing":
        (tmp_path / name).write_text("nothing")
    with pytest.raises(InputError, match=name):
        load_tokenizer("unused/name", tmp_path / name, _text())
