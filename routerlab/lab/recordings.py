"""Recorded answers: one JSON file a request, with the text in pieces and when each came.

Does not know: HTTP. A missing recording is an error, never a live call.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path

from routerlab.catalog import ModelSpec
from routerlab.errors import DataError
from routerlab.files import DATA_DIR, write_json
from routerlab.providers import (
    Answer,
    ChatRequest,
    Finished,
    Provider,
    ProviderHub,
    TextDelta,
)
from routerlab.types import EndState, Usage

RECORDINGS_DIR = DATA_DIR / "recordings"


@dataclass(frozen=True)
class Recording:
    """An answer as it came. `chunks`: milliseconds since the request, and text."""

    model: str
    chunks: tuple[tuple[float, str], ...]
    end_state: EndState
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_input_tokens: int


def recording_key(model: str, messages: Sequence[Mapping[str, str]], max_tokens: int) -> str:
    """File name of a request's recording: a hash of what was asked, of whom, to what length."""
    asked = json.dumps([model, [dict(m) for m in messages], max_tokens], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]


def load_recording(folder: Path, key: str) -> Recording | None:
    """A recording, or None where there is none; `DataError` where the file is malformed."""
    path = folder / f"{key}.json"
    if not path.exists():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        chunks = tuple((float(ms), str(text)) for ms, text in fields.pop("chunks"))
        return Recording(chunks=chunks, **fields)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is not a recording: delete it and run `make record`") from error


class RecordingHub(ProviderHub):
    """A hub whose providers leave a recording of each answer that ended."""

    def __init__(self, hub: ProviderHub, folder: Path = RECORDINGS_DIR) -> None:
        super().__init__(hub.catalog, hub.endpoints, hub.deadlines)
        self.folder = folder

    def provider(self, model: ModelSpec) -> Provider:
        """See `ProviderHub`."""
        return _RecordingProvider(super().provider(model), self.folder)


class _RecordingProvider:
    def __init__(self, inner: Provider, folder: Path) -> None:
        self._inner = inner
        self._folder = folder

    async def complete(self, request: ChatRequest) -> Answer:
        started = time.perf_counter()
        answer = await self._inner.complete(request)
        chunk = ((time.perf_counter() - started) * 1e3, answer.text)
        self._save(request, (chunk,), answer.end_state, answer.usage)
        return answer

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished]:
        started = time.perf_counter()
        chunks: list[tuple[float, str]] = []
        async with aclosing(self._inner.stream(request)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    chunks.append(((time.perf_counter() - started) * 1e3, event.text))
                else:
                    self._save(request, tuple(chunks), event.end_state, event.usage)
                yield event

    async def close(self) -> None:
        await self._inner.close()

    def _save(
        self,
        request: ChatRequest,
        chunks: tuple[tuple[float, str], ...],
        end_state: EndState,
        usage: Usage | None,
    ) -> None:
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        key = recording_key(request.model.id, messages, request.max_output_tokens)
        billed = usage or Usage(0, 0)
        recording = Recording(
            model=request.model.id,
            chunks=chunks,
            end_state=end_state,
            input_tokens=billed.input_tokens,
            output_tokens=billed.output_tokens,
            reasoning_tokens=billed.reasoning_tokens,
            cached_input_tokens=billed.cached_input_tokens,
        )
        write_json(self._folder / f"{key}.json", asdict(recording))
