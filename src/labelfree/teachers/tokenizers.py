"""From sentences to CLIP's token ids, with whatever vocabulary comes with the model."""

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
"""Merge rules that CLIP uses from bpe_simple_vocab_16e6.txt.gz, which holds more."""
LARGEST_BPE = 1 << 24
"""Bytes of the unpacked vocabulary that are read; OpenAI's has 3.2 million."""

LEGACY_EOS = 2
"""With this `eos_token_id` transformers reads the sentence at its highest token id (OpenAI's own config files)."""


@dataclass(frozen=True)
class Tokenizer:
    """Sentences in, padded token ids out."""

    encode: Callable[[str], list[int]]
    """Ids of one sentence with start and end token, any length."""
    length: int
    """Positions the text encoder has."""
    kind: str
    """For reports: where the vocabulary came from."""
    warnings: tuple[str, ...] = ()

    def __call__(self, sentences: Sequence[str]) -> Tensor:  # [B, L] int64
        """Return ids padded with 0 to the longest sentence; causal attention never sees what follows the end token."""
        encoded = [self._cut(self.encode(sentence)) for sentence in sentences]
        rows = torch.zeros(len(sentences), max(map(len, encoded)), dtype=torch.int64)
        for row, ids in zip(rows, encoded):
            row[: len(ids)] = torch.tensor(ids)
        return rows

    def _cut(self, ids: list[int]) -> list[int]:
        return ids if len(ids) <= self.length else [*ids[: self.length - 1], ids[-1]]


def load_tokenizer(name_or_folder: str | Path, tokenizer: str | Path | None, text_config: Any) -> Tokenizer:
    """Find the tokenizer: the one asked for, else the model's own, else plain bytes with a warning."""
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
            f"{source}: no tokenizer here; give a folder with tokenizer.json, or with vocab.json and merges.txt, "
            "or CLIP's bpe_simple_vocab_16e6.txt.gz."
        )
    else:
        return byte_tokenizer(text_config, source)
    _check_ids(encode("a photo of a chair."), size, source or name_or_folder)
    return Tokenizer(encode, length, f"vocabulary of {source or name_or_folder}")


def byte_tokenizer(text_config: Any, folder: Path) -> Tokenizer:
    """Use the bytes of the lower-cased text as ids: sound for weights trained so, meaningless for all others."""
    size, length = int(text_config.vocab_size), int(text_config.max_position_embeddings)
    start, end = special_ids(text_config)
    room = size if size > 257 else max(size - 2, 1)

    def encode(text: str) -> list[int]:
        return [start, *(byte % room for byte in " ".join(text.lower().split()).encode()), end]

    warning = (
        f"{folder}: no tokenizer.json and no vocab.json with merges.txt, so class names were read as plain bytes; "
        "the labels MEAN NOTHING unless the weights were trained that way. Copy the tokenizer files into the folder, "
        "or set the option tokenizer to them or to CLIP's bpe_simple_vocab_16e6.txt.gz."
    )
    return Tokenizer(encode, length, "plain bytes", (warning,))


def special_ids(text_config: Any) -> tuple[int, int]:
    """Return start and end id; the last two of the vocabulary where the config's own cannot mark the end."""
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
    """Build CLIP's tokenizer from OpenAI's merge file: bytes, bytes that end a word, merges, two special tokens."""
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
    """List the printable letters that stand for the 256 bytes, in CLIP's (GPT-2's) order: printable bytes first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(others)]


def _encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    return lambda text: list(tokenizer(text)["input_ids"])


def _check_ids(ids: list[int], vocab_size: int, source: str | Path) -> None:
    if max(ids) >= vocab_size:
        raise InputError(
            f"{source}: its tokenizer gives id {max(ids)} but the model's text encoder knows {vocab_size} ids; "
            "use the tokenizer that the model was trained with."
        )
