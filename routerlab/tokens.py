"""Token counts before a call, with how far each can be trusted.

Counts o200k_base tokens with tiktoken and turns them into a model's own by the catalog's factor.
Bills rest on the provider's usage; these counts are the estimate before a call and the fallback
for an answer that broke off. Does not know: prices, providers' replies.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from routerlab.catalog import ModelSpec
from routerlab.errors import DataError
from routerlab.files import cache_dir
from routerlab.query import Message
from routerlab.types import TokenCount

if TYPE_CHECKING:
    import tiktoken

ENCODING = "o200k_base"
# The cost of chat framing in OpenAI's format, by its cookbook: each message, each name, the reply.
TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
TOKENS_PER_REPLY = 3
# tiktoken merges one unbroken run of characters in more than linear time; pieces keep it linear.
# A cut before a space between two letters is one that the encoding makes itself: nothing changes.
_PIECE_CHARS = 20_000
_PIECES = re.compile(
    rf".{{1,{_PIECE_CHARS}}}(?:\Z|(?<=[a-z])(?= [a-z]))|.{{1,{_PIECE_CHARS}}}", re.DOTALL
)


@dataclass(frozen=True)
class EncodingFile:
    """tiktoken's cached BPE file of an encoding: its name (sha1 of the URL) and its sha256."""

    name: str
    sha256: str


ENCODING_FILES = {
    "o200k_base": EncodingFile(
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": EncodingFile(
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}


def encodings_dir() -> Path:
    """Folder of the BPE files: `TIKTOKEN_CACHE_DIR`, else in this project's cache folder."""
    return Path(os.environ.get("TIKTOKEN_CACHE_DIR") or cache_dir() / "tiktoken")


def encoding_is_there(name: str = ENCODING) -> bool:
    """Whether the BPE file of an encoding is at hand."""
    return (encodings_dir() / ENCODING_FILES[name].name).exists()


@lru_cache(maxsize=4)
def encoding(name: str = ENCODING) -> tiktoken.Encoding:
    """The tiktoken encoding from its local file; `DataError` where that is missing.

    Never downloads: a route must not wait for the network. `make data` fetches the files.
    """
    import tiktoken

    folder = encodings_dir()
    if not encoding_is_there(name):
        raise DataError(
            f"tiktoken's {name} file is not in {folder}: run `make data`, which knows two places "
            "to get it from"
        )
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    return tiktoken.get_encoding(name)


def count_text(text: str, name: str = ENCODING) -> int:
    """Tokens of a text; special-token look-alikes count as the plain text that they are."""
    known = encoding(name)
    pieces = _PIECES.finditer(text)
    return sum(len(known.encode(piece[0], disallowed_special=())) for piece in pieces)


def count_chat(messages: Sequence[Mapping[str, str]], name: str = ENCODING) -> int:
    """Tokens of OpenAI chat messages with their framing: role, content and optional name."""
    total = TOKENS_PER_REPLY
    for message in messages:
        total += TOKENS_PER_MESSAGE + sum(count_text(value, name) for value in message.values())
        total += TOKENS_PER_NAME if "name" in message else 0
    return total


def scale(count: int, model: ModelSpec) -> TokenCount:
    """Turn an o200k_base count into the model's own, with its band."""
    counter = model.counter
    return TokenCount(
        tokens=round(count * counter.factor),
        low=math.floor(count * counter.low),
        high=math.ceil(count * counter.high),
        kind=counter.kind,
    )


def count_messages(messages: Sequence[Message], model: ModelSpec) -> TokenCount:
    """Input tokens of a conversation for a model; rough, by characters, without the BPE file."""
    try:
        return scale(count_chat([{"role": m.role, "content": m.content} for m in messages]), model)
    except DataError:
        framing = TOKENS_PER_REPLY + len(messages) * (TOKENS_PER_MESSAGE + 1)  # a role is one token
        return _by_characters([m.content for m in messages], framing, model)


def count_answer(text: str, model: ModelSpec) -> TokenCount:
    """Output tokens of a text for a model; rough, by characters, without the BPE file."""
    try:
        return scale(count_text(text), model)
    except DataError:
        return _by_characters([text], 0, model)


def _by_characters(texts: Sequence[str], framing: int, model: ModelSpec) -> TokenCount:
    characters = sum(map(len, texts))
    # Four characters a token for English prose, six at most as a rule; a token has a byte at least.
    most = sum(len(text.encode(errors="replace")) for text in texts)
    counter = model.counter
    return TokenCount(
        tokens=round((framing + math.ceil(characters / 4)) * counter.factor),
        low=math.floor((framing + characters // 6) * counter.low),
        high=math.ceil((framing + most) * counter.high),
        kind="rough",
    )
