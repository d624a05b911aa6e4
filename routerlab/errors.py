"""The errors that routerlab raises: one small tree, each message says what happened and what to do.

    RouterLabError
    ├── InvalidQuery           the query cannot be routed (also a ValueError)
    ├── CatalogError           data/catalog.toml is malformed
    │   ├── UnknownModel       a model that the catalog does not list (also a KeyError)
    │   └── UnknownTier        a tier that the rubric does not know (also a KeyError)
    ├── DataError              a data file is missing, malformed or cannot be fetched
    ├── EmbeddingError         the embedding model is missing or is not the one expected
    ├── ClassifierError        the trained classifier is missing, altered or stale
    ├── CacheFileError         a cache file is corrupt, foreign or from a newer version
    ├── BudgetError            a call would pass the budget, or live mode has none
    ├── ModeError              the mode is unknown or what it needs is not there
    ├── ProviderError          a provider did not answer in full; carries provider, model, retryable
    │   ├── MissingKey         no API key for this provider
    │   └── IncompleteAnswer   the stream ended before the model said that it had finished
    ├── ResultsError           the results folder cannot be written, or a report breaks its schema
    ├── NotebookError          a notebook of the pipeline failed
    └── ClusterError           Dask is missing, its scheduler or workers are out of reach or differ

    CacheWarning               a cache is out of order; the answer came without it

Does not know: any provider, any SDK. No message ever carries a key or a request header.
"""

from __future__ import annotations


class RouterLabError(Exception):
    """Base of every error that routerlab raises on purpose."""


class InvalidQuery(RouterLabError, ValueError):
    """The query cannot be routed."""


class CatalogError(RouterLabError):
    """The model catalog is malformed."""


class UnknownModel(CatalogError, KeyError):
    """A model that the catalog does not list."""

    def __str__(self) -> str:  # KeyError would show the message in quotes
        return str(self.args[0])


class UnknownTier(CatalogError, KeyError):
    """A tier that the rubric does not know."""

    def __str__(self) -> str:
        return str(self.args[0])


class DataError(RouterLabError):
    """A data file is missing, malformed, or cannot be fetched."""


class EmbeddingError(RouterLabError):
    """The embedding model is missing or is not the one expected."""


class ClassifierError(RouterLabError):
    """The trained classifier is missing, altered or stale."""


class CacheFileError(RouterLabError):
    """A cache file is corrupt, foreign or written by a newer version."""


class CacheWarning(UserWarning):
    """A cache is out of order; the answer came, or was given, without it."""


class BudgetError(RouterLabError):
    """A call would pass the budget, or live mode was asked for without one."""


class ModeError(RouterLabError):
    """The mode is unknown, or what it needs is not there."""


class ProviderError(RouterLabError):
    """A provider did not answer in full.

    `retryable` says whether another try, or another model, may succeed; `partial_text` is what
    had arrived before the failure.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        model: str,
        retryable: bool = False,
        partial_text: str = "",
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.retryable = retryable
        self.partial_text = partial_text


class MissingKey(ProviderError):
    """No API key for this provider in the environment."""


class IncompleteAnswer(ProviderError):
    """The answer ended before the model said that it had finished."""


class ResultsError(RouterLabError):
    """The results folder cannot be written, or a report breaks its schema."""


class NotebookError(RouterLabError):
    """A notebook of the pipeline failed; the message names the notebook and the cell."""


class ClusterError(RouterLabError):
    """Dask is not installed, its scheduler or workers are out of reach, or they differ."""
