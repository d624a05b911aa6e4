"""routerlab: which model should answer this query, and when need none answer at all?

The public names, loaded on first use so that `import routerlab` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routerlab.cache import SemanticCache
    from routerlab.catalog import Catalog, load_catalog
    from routerlab.errors import RouterLabError
    from routerlab.router import LLMRouter
    from routerlab.streaming import StreamingRouter
    from routerlab.types import (
        TIERS,
        Completion,
        RouteDecision,
        StreamChunk,
        StreamMetadata,
        Usage,
    )

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "routerlab.catalog",
    "Completion": "routerlab.types",
    "LLMRouter": "routerlab.router",
    "RouteDecision": "routerlab.types",
    "RouterLabError": "routerlab.errors",
    "SemanticCache": "routerlab.cache",
    "StreamChunk": "routerlab.types",
    "StreamMetadata": "routerlab.types",
    "StreamingRouter": "routerlab.streaming",
    "TIERS": "routerlab.types",
    "Usage": "routerlab.types",
    "load_catalog": "routerlab.catalog",
}

__all__ = [
    "TIERS",
    "Catalog",
    "Completion",
    "LLMRouter",
    "RouteDecision",
    "RouterLabError",
    "SemanticCache",
    "StreamChunk",
    "StreamMetadata",
    "StreamingRouter",
    "Usage",
    "load_catalog",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'routerlab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
