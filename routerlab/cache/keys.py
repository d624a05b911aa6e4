"""What a cached answer belongs to: a scope that is never matched fuzzily, and the query's text.

Does not know: vectors, stores.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

from routerlab.query import Message


@dataclass(frozen=True)
class Scope:
    """The hard partition: two queries share answers only where all of this is the same."""

    tenant: str
    system_prompt: str
    policy: str
    parameters: str
    earlier_turns: tuple[Message, ...]
    embedder_id: str

    @property
    def hash(self) -> str:
        """sha256 over all fields, with unambiguous borders between them."""
        return _hashed(self)


# Every route makes a key, most of them in a scope that was there before.
@lru_cache(maxsize=64)
def _hashed(scope: Scope) -> str:
    # As `asdict` has it, at a third of its time: each follow-up is a scope of its own.
    told = {**scope.__dict__, "earlier_turns": [turn.__dict__ for turn in scope.earlier_turns]}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class CacheKey:
    """A scope and the text of the last user turn; white space at the ends does not count."""

    scope_hash: str
    text: str

    @classmethod
    def of(cls, scope: Scope, text: str) -> CacheKey:
        """The key of a query."""
        return cls(scope.hash, text.strip())
