"""Convert sentences to CLIP's token ids with the vocabulary of the model."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelfree.errors import InputError
from labelfree.files.documents import open_file
from labelfree.teachers.loading import local_folder
from labelfree.weights.hub import hub_answers

BPE_MERGES = 49152 - 256 - 2
"""Number of merge rules of bpe_simple_vocab_16e6.txt.gz that CLIP uses; the file has more."""
LARGEST_BPE = 1 << 24
"""Largest number of bytes of the unpacked vocabulary that are read; OpenAI's has 3.2 million."""

LEGACY_EOS = 2
"""With this `eos_token_id`, as in OpenAI's config files, transformers pools the text at the highest token id."""


@dataclass(frozen=True)
class Tokenizer:
    """A function from sentences to padded token ids."""

    encode: Callable[[str], list[int]]
    """Function to the ids of one sentence of any length, with start and end token."""
    length: int
    """Number of positions of the text encoder."""
    kind: str
    """Source of the vocabulary, for reports."""
    warnings: tuple[str, ...] = ()

    def __call__(self, sentences: Sequence[str]) -> Tensor:  # [B, L] int64
        """Return ids padded with 0 to the longest sentence; causal attention ignores ids after the end token."""
        encoded = [self._cut(self.encode(sentence)) for sentence in sentences]
        rows = torch.zeros(len(sentences), max(map(len, encoded)), dtype=torch.int64)
        for row, ids in zip(rows, encoded):
            row[: len(ids)] = torch.tensor(ids)
        return rows

    def _cut(self, ids: list[int]) -> list[int]:
        return ids if len(ids) <= self.length else [*ids[: self.length - 1], ids[-1]]


def load_tokenizer(name_or_folder: str | Path, tokenizer: str | Path | None, text_config: Any) -> Tokenizer:
    """Load a tokenizer: the given one, else the model's own, else plain bytes with a warning.

    Raises an `InputError` if the given tokenizer is missing, invalid or gives ids beyond the text encoder's.
    """
    length, size = int(text_config.max_position_embeddings), int(text_config.vocab_size)
    source = Path(tokenizer).expanduser() if tokenizer is not None else local_folder(name_or_folder)
    if source is None:
        encode = _from_hub(str(name_or_folder))
    elif source.name.endswith(".gz"):
        encode = _from_bpe_file(source)
    elif source.is_dir() and (source / "tokenizer.json").is_file():
        encode = _from_tokenizer_json(source / "tokenizer.json")
    elif source.is_dir() and (source / "vocab.json").is_file() and (source / "merges.txt").is_file():
        encode = _from_vocab_and_merges(source)
    elif source.is_file():
        encode = _from_tokenizer_json(source)
    elif tokenizer is not None:
        raise InputError(
            f"{source}: no tokenizer found; give a folder with tokenizer.json, or with vocab.json and merges.txt, "
            "or CLIP's bpe_simple_vocab_16e6.txt.gz."
        )
    else:
        return byte_tokenizer(text_config, source)
    _check_ids(encode("a photo of a chair."), size, source or name_or_folder)
    return Tokenizer(encode, length, f"vocabulary of {source or name_or_folder}")


def byte_tokenizer(text_config: Any, folder: Path) -> Tokenizer:
    """Return a tokenizer whose ids are the bytes of lower-cased text; only weights trained this way can use it."""
    size, length = int(text_config.vocab_size), int(text_config.max_position_embeddings)
    start, end = special_ids(text_config)
    room = size if size > 257 else max(size - 2, 1)

    def encode(text: str) -> list[int]:
        return [start, *(byte % room for byte in " ".join(text.lower().split()).encode()), end]

    warning = (
        f"{folder}: no tokenizer.json and no vocab.json with merges.txt, so class names are read as plain bytes; "
        "the labels are MEANINGLESS unless the weights were trained that way. Copy the tokenizer files into the "
        "folder, or set the option tokenizer to them or to CLIP's bpe_simple_vocab_16e6.txt.gz."
    )
    return Tokenizer(encode, length, "plain bytes", (warning,))


def special_ids(text_config: Any) -> tuple[int, int]:
    """Return start and end id: those of the config, or the last two of the vocabulary if its end id is unusable."""
    size, end = int(text_config.vocab_size), int(text_config.eos_token_id)
    if end == LEGACY_EOS or not 0 <= end < size:
        return size - 2, size - 1
    start = int(text_config.bos_token_id)
    return (start if 0 <= start < size else max(end - 1, 0)), end


def _from_hub(name: str) -> Callable[[str], list[int]]:
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(name, local_files_only=not hub_answers(name))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{name}: its tokenizer cannot be loaded from the hub ({str(error).splitlines()[0]}); "
            "check the network, or download the model and give its folder."
        ) from error
    return _encoder(tokenizer)


def _from_tokenizer_json(path: Path) -> Callable[[str], list[int]]:
    from tokenizers import Tokenizer as FastTokenizer

    try:
        tokenizer = FastTokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception on bad files
        raise InputError(f"{path}: not a tokenizer.json ({error}); copy the file again.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: list(tokenizer.encode(text).ids)


def _from_vocab_and_merges(folder: Path) -> Callable[[str], list[int]]:
    from transformers import CLIPTokenizer

    return _encoder(CLIPTokenizer.from_pretrained(str(folder)))


def _from_bpe_file(path: Path) -> Callable[[str], list[int]]:
    """Return CLIP's tokenizer from OpenAI's merge file: bytes, bytes that end a word, merges, two special tokens."""
    from transformers import CLIPTokenizer

    try:
        with open_file(path, "copy the file again") as packed, gzip.open(packed) as text:
            lines = text.read(LARGEST_BPE).decode("utf-8").split("\n")
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a gzipped BPE vocabulary ({error}); copy the file again.") from error
    merges = [tuple(line.split()) for line in lines[1 : BPE_MERGES + 1]]
    if len(merges) != BPE_MERGES or any(len(merge) != 2 for merge in merges):
        raise InputError(f"{path}: expected {BPE_MERGES} merge rules as in bpe_simple_vocab_16e6.txt.gz.")
    letters = _byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return _encoder(CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))


def _byte_letters() -> list[str]:
    """Return the printable letters for the 256 bytes in the order of CLIP and GPT-2: printable bytes first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(others)]


def _encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    return lambda text: list(tokenizer(text)["input_ids"])


def _check_ids(ids: list[int], vocab_size: int, source: str | Path) -> None:
    if max(ids) >= vocab_size:
        raise InputError(
            f"{source}: its tokenizer gives id {max(ids)} but the model's text encoder has {vocab_size} ids; "
            "use the tokenizer that the model was trained with."
        )
