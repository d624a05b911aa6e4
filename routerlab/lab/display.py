"""Shows a stream in a notebook as it comes.

Does not know: where the chunks come from.
"""

from __future__ import annotations

import html
import time
from collections.abc import AsyncIterator

from routerlab.types import StreamChunk, StreamMetadata

REDRAW_S = 0.05
"""Redraw at most this often: a notebook's front end falls behind a fast stream otherwise."""


async def display_stream(chunks: AsyncIterator[StreamChunk]) -> StreamMetadata | None:
    """Render the text in place as it grows, then one line on how it ended; that line's metadata.

    A `restart` clears the text. None where the stream ends without a last chunk.
    """
    from IPython.display import HTML, display

    handle = display(HTML(""), display_id=True)  # type: ignore[no-untyped-call]
    text, drawn = "", 0.0
    metadata: StreamMetadata | None = None
    async for chunk in chunks:
        text = "" if chunk.kind == "restart" else text + chunk.content
        metadata = chunk.metadata or metadata
        if chunk.done or time.monotonic() - drawn >= REDRAW_S:
            drawn = time.monotonic()
            handle.update(HTML(rendered(text, metadata)))  # type: ignore[no-untyped-call]
    return metadata


def rendered(text: str, metadata: StreamMetadata | None) -> str:
    """The text as HTML, with a line of figures under it once the stream has ended."""
    shown = f"<pre style='white-space:pre-wrap'>{html.escape(text)}</pre>"
    if metadata is None:
        return shown
    first = "no text" if metadata.ttft_ms is None else f"first text {metadata.ttft_ms:.0f} ms"
    parts = [
        "cache" if metadata.cached else f"{metadata.model} ({metadata.provider})",
        metadata.end_state,
        f"{metadata.usage.output_tokens} tokens ({metadata.usage.source})",
        f"${metadata.cost_usd:.6f}",
        first,
        metadata.mode,
    ]
    return f"{shown}<p><small>{html.escape(' · '.join(parts))}</small></p>"
