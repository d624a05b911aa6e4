"""The cache's face: layers, scope, expiry, eviction, forgetting, counts, threads."""

import threading
from dataclasses import fields, replace

import numpy as np
import pytest
from entries import PUT, key, unit
from hypothesis import given, settings
from hypothesis import strategies as st

from routerlab.cache import CacheKey, CacheStats, Scope, SemanticCache
from routerlab.cache.controller import ThresholdController
from routerlab.cache.reading import is_time_sensitive
from routerlab.errors import CacheFileError
from routerlab.query import Message


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/cache.db"


@pytest.fixture
def cache(url):
    made = SemanticCache(url, threshold=0.9)
    yield made
    made.close()


def test_exact_then_semantic_then_miss(cache):
    entry = cache.put(key("how are tides made"), unit(1), "by the moon", **PUT)
    exact = cache.get(key("  how are tides made "))
    near = cache.get(key("please, how are tides made?"), unit(1, 0.1))
    far = cache.get(key("who wrote Emma"), unit(0, 1))
    assert (exact.status, exact.answer, exact.entry_id) == ("exact", "by the moon", entry)
    assert (exact.score, exact.cosine) == (1, 1)
    assert (near.status, near.source_query) == ("semantic", "how are tides made")
    assert near.score == near.cosine == pytest.approx(1 / np.hypot(1, 0.1), abs=1e-5)
    assert near.threshold == cache.threshold == 0.9
    assert near.age_s >= 0
    assert (near.tier, near.model, near.provider) == ("simple", "gpt-6-luna", "openai")
    assert (far.status, far.hit, far.score, far.answer) == ("miss", False, None, None)
    stats = cache.stats()
    assert (stats.entries, stats.exact_hits, stats.semantic_hits, stats.misses) == (1, 1, 1, 1)
    assert stats.control == cache.controller.describe()


def test_a_miss_tells_the_best_candidates_score(cache):
    cache.put(key("how are tides made"), unit(1), "by the moon", **PUT)
    missed = cache.get(key("what are tides"), unit(1, 0.8))
    assert missed.status == "miss"
    assert missed.score == pytest.approx(1 / np.hypot(1, 0.8), abs=1e-5)
    assert (missed.threshold, missed.answer, missed.entry_id) == (0.9, None, None)


def test_the_nearest_is_served(cache):
    cache.put(key("first"), unit(1, 0.3), "far", **PUT)
    cache.put(key("second"), unit(1, 0.1), "near", **PUT)
    cache.put(key("third"), unit(1, 0.2), "middle", **PUT)
    assert cache.get(key("asked"), unit(1)).answer == "near"


class Half:
    """A verifier that halves the cosine, but for one pair."""

    def score(self, asked, stored, cosine):
        return 0.99 if (asked, stored) == ("asked", "same") else cosine / 2


def test_the_verifier_has_the_last_word(url):
    cache = SemanticCache(url, threshold=0.9, verifier=Half())
    cache.put(key("other"), unit(1), "wrong", **PUT)
    refused = cache.get(key("asked"), unit(1))
    assert (refused.status, refused.score) == ("miss", pytest.approx(0.5))
    cache.put(key("same", tenant="b"), unit(1, 1), "right", **PUT)
    served = cache.get(key("asked", tenant="b"), unit(1))
    assert (served.answer, served.score) == ("right", 0.99)
    assert served.cosine == pytest.approx(np.sqrt(0.5), abs=1e-5)


def test_far_candidates_are_not_shown_to_the_verifier(url):
    class Never:
        def score(self, asked, stored, cosine):
            raise AssertionError("below the least cosine")

    cache = SemanticCache(url, threshold=0.9, verifier=Never())
    cache.put(key("stored"), unit(1), "a", **PUT)
    assert not cache.get(key("asked"), unit(0.5, 1)).hit


def test_an_audited_decision_carries_what_the_judge_needs(url):
    controller = ThresholdController(0.9, audited=True)
    cache = SemanticCache(url, controller=controller)
    cache.put(key("stored"), unit(1), "kept", **PUT)
    hit = cache.get(key("asked"), unit(1, 0.1))
    missed = cache.get(key("asked too"), unit(1, 0.7))
    assert (hit.audit.asked, hit.audit.source, hit.audit.answer) == ("asked", "stored", "kept")
    assert hit.audit.score == hit.score
    assert (missed.hit, missed.audit.asked, missed.audit.answer) == (False, "asked too", "kept")
    assert cache.get(key("stored")).audit is None
    cache.judged(hit.audit, right=True)
    assert controller.verdicts == 1


OTHER_SCOPES = [
    {"tenant": "b"},
    {"system_prompt": "be brief"},
    {"policy": "fixed:x"},
    {"parameters": "max=1"},
    {"earlier_turns": (Message("user", "hello"),)},
    {"embedder_id": "f"},
]


@pytest.mark.parametrize("changes", OTHER_SCOPES, ids=lambda c: next(iter(c)))
def test_nothing_crosses_a_scope(cache, changes):
    cache.put(key("same words"), unit(1), "mine", **PUT)
    assert not cache.get(key("same words", **changes)).hit
    assert not cache.get(key("same words", **changes), unit(1)).hit
    assert cache.peek(key("same words", **changes)) is None


# Few letters, quotes and brackets among them: fields that look alike where they are joined.
words = st.text(alphabet='ab",[]{}:\\é ', max_size=4)
turns = st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), words), max_size=2)
scopes = st.builds(Scope, words, words, words, words, turns.map(tuple), words)


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def shared_cache(request, tmp_path_factory):
    """One cache for many examples; it serves whatever is near, as carelessly as it can."""
    folder = tmp_path_factory.mktemp("scopes")
    url = "memory://" if request.param == "memory" else f"sqlite:///{folder}/cache.db"
    made = SemanticCache(url, threshold=1e-6)
    yield made
    made.close()


@settings(max_examples=150, deadline=None)
@given(one=scopes, drawn=scopes, field=st.sampled_from([None, *(f.name for f in fields(Scope))]))
def test_no_hit_ever_crosses_scopes(shared_cache, one, drawn, field):
    other = drawn if field is None else replace(one, **{field: getattr(drawn, field)})
    there, here = CacheKey.of(one, "same text"), CacheKey.of(other, "same text")
    entry = shared_cache.put(there, unit(1), "an answer", **PUT)
    try:
        layers = [
            shared_cache.get(here).hit,
            shared_cache.get(here, unit(1)).hit,
            shared_cache.peek(here) is not None,
            shared_cache.get(CacheKey(here.scope_hash, "other text"), unit(1)).hit,
        ]
        assert layers == [one == other] * 4
    finally:
        shared_cache.forget(entry)


@given(one=scopes, other=scopes)
def test_scopes_are_equal_only_when_every_part_is(one, other):
    assert (one.hash == other.hash) == (one == other)


@pytest.mark.parametrize(
    "text", ["what is the latest iPhone", "Weather forecast?", "who won TODAY"]
)
def test_time_sensitive_queries_are_not_kept(cache, text):
    assert is_time_sensitive(text)
    assert cache.put(key(text), unit(1), "x", **PUT) is None
    assert not cache.get(key(text), unit(1)).hit
    assert cache.stats().entries == 0


def test_time_sensitive_queries_are_not_served_from_what_is_near(cache):
    cache.put(key("who won the match"), unit(1), "they did", **PUT)
    assert not cache.get(key("who won the match today"), unit(1)).hit
    assert not is_time_sensitive("how do I latestify a todayish word")


def test_an_answer_that_no_file_can_hold_is_not_kept(cache):
    """An answer was paid for: what is odd in it must not cost the caller the whole."""
    assert cache.put(key("q"), unit(1), "half a pair: \ud83d", **PUT) is None
    assert not cache.get(key("q")).hit
    assert cache.put(key("q"), unit(1), "a whole one: \U0001f30d", **PUT)
    assert cache.get(key("q")).answer == "a whole one: \U0001f30d"


def test_expiry(url):
    now = [0.0]
    cache = SemanticCache(url, threshold=0.9, ttl_s=10, clock=lambda: now[0])
    cache.put(key("q"), unit(1), "a", **PUT)
    now[0] = 10.0
    assert cache.get(key("q")).age_s == 10
    assert cache.get(key("q2"), unit(1)).hit
    now[0] = 10.1
    assert not cache.get(key("q")).hit
    assert cache.peek(key("q")) is None
    assert not cache.get(key("q2"), unit(1)).hit
    assert cache.stats().entries == 0


def test_a_stale_entry_does_not_hide_a_fresh_one(url):
    now = [0.0]
    cache = SemanticCache(url, threshold=0.9, ttl_s=10, clock=lambda: now[0])
    cache.put(key("old"), unit(1), "stale", **PUT)
    now[0] = 9.0
    cache.put(key("new"), unit(1, 0.1), "fresh", **PUT)
    now[0] = 11.0
    assert cache.get(key("asked"), unit(1)).answer == "fresh"


def test_without_a_ttl_nothing_expires(url):
    now = [0.0]
    cache = SemanticCache(url, ttl_s=None, clock=lambda: now[0])
    cache.put(key("q"), unit(1), "a", **PUT)
    now[0] = 1e12
    assert cache.get(key("q")).hit


def test_least_recently_used_goes_first(url):
    cache = SemanticCache(url, threshold=0.9, max_entries=2)
    cache.put(key("one x"), unit(1), "1", **PUT)
    cache.put(key("other y"), unit(0, 1), "2", **PUT)
    assert cache.get(key("one x")).hit
    cache.put(key("third z"), unit(0, 0, 1), "3", **PUT)
    assert cache.stats().entries == 2
    assert cache.get(key("one x")).hit
    assert not cache.get(key("other y")).hit
    assert not cache.get(key("other why"), unit(0, 1)).hit


def test_a_semantic_hit_is_a_use(url):
    cache = SemanticCache(url, threshold=0.9, max_entries=2)
    cache.put(key("one"), unit(1), "1", **PUT)
    cache.put(key("two"), unit(0, 1), "2", **PUT)
    assert cache.get(key("about one"), unit(1, 0.1)).hit
    cache.put(key("three"), unit(0, 0, 1), "3", **PUT)
    assert cache.peek(key("one"))
    assert not cache.peek(key("two"))


def test_forget_and_replace(cache):
    first = cache.put(key("q"), unit(1), "old", **PUT)
    second = cache.put(key("q"), unit(0, 1), "new", **PUT)
    assert second > first
    assert cache.get(key("q")).answer == "new"
    assert not cache.get(key("qq"), unit(1)).hit
    assert cache.get(key("qq"), unit(0, 1)).answer == "new"
    assert cache.stats().entries == 1
    assert not cache.forget(first)
    assert cache.forget(second)
    assert not cache.forget(second)
    assert not cache.get(key("q")).hit
    assert not cache.get(key("qq"), unit(0, 1)).hit


def test_peek_counts_nowhere(cache):
    cache.put(key("q"), unit(1), "a", **PUT)
    assert cache.peek(key("q")).answer == "a"
    assert cache.peek(key("never stored")) is None
    assert cache.stats() == CacheStats(1, 0, 0, 0, cache.controller.describe())


def test_threads_share_a_cache(cache):
    failures = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                text = f"q {number} {turn}"
                cache.put(key(text), unit(number + 1, turn), text, **PUT)
                assert cache.get(key(text)).answer == text
                assert cache.get(key(f"near {text}"), unit(number + 1, turn)).hit
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = cache.stats()
    assert not failures
    assert (stats.entries, stats.exact_hits, stats.semantic_hits) == (80, 80, 80)


def test_unknown_url_says_which_there_are():
    with pytest.raises(CacheFileError, match="memory://"):
        SemanticCache("redis://here")


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan")])
def test_nonsense_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        SemanticCache(threshold=threshold)


def test_nonsense_sizes_are_refused():
    with pytest.raises(ValueError, match="max_entries"):
        SemanticCache(max_entries=0)
