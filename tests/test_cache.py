"""The cache: layers, scope, expiry, eviction, forgetting, and its file."""

import os
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerlab.cache import CacheKey, Scope, SemanticCache
from routerlab.cache.calibration import CacheCalibration, calibrated_threshold
from routerlab.cache.sameanswer import is_time_sensitive, may_share_answer
from routerlab.errors import CacheFileError
from routerlab.query import Message

PUT = {"tier": "simple", "model": "gpt-6-luna", "provider": "openai"}


def scope(**changes) -> Scope:
    plain = {
        "tenant": "a",
        "system_prompt": "",
        "policy": "tier",
        "parameters": "",
        "earlier_turns": (),
        "embedder_id": "e",
    }
    return Scope(**{**plain, **changes})


def key(text: str, **changes) -> CacheKey:
    return CacheKey.of(scope(**changes), text)


def unit(*values: float) -> np.ndarray:
    vector = np.zeros(8, dtype=np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


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
    assert (near.status, near.source_query) == ("semantic", "how are tides made")
    assert near.score == pytest.approx(1 / np.hypot(1, 0.1), abs=1e-5)
    assert near.threshold == 0.9
    assert near.age_s >= 0
    assert (near.tier, near.model, near.provider) == ("simple", "gpt-6-luna", "openai")
    assert far.status == "miss"
    assert not far.hit
    stats = cache.stats()
    assert (stats.entries, stats.exact_hits, stats.semantic_hits, stats.misses) == (1, 1, 1, 1)


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


texts = st.text(max_size=20)


@given(one=st.tuples(texts, texts, texts), two=st.tuples(texts, texts, texts))
def test_scopes_are_equal_only_when_every_part_is(one, two):
    def made(parts):
        return scope(tenant=parts[0], system_prompt=parts[1], parameters=parts[2]).hash

    assert (made(one) == made(two)) == (one == two)


def test_numbers_and_negations_part_texts_that_are_near(cache):
    cache.put(key("convert 5 km to miles"), unit(1), "3.1", **PUT)
    assert not cache.get(key("convert 6 km to miles"), unit(1)).hit
    assert cache.get(key("please convert 5 km to miles"), unit(1)).hit
    cache.put(key("is it safe to mix them"), unit(0, 1), "yes", **PUT)
    assert not cache.get(key("is it not safe to mix them"), unit(0, 1)).hit


def test_nearest_servable_entry_wins_over_a_nearer_one_that_is_not(cache):
    cache.put(key("5 apples"), unit(1), "five", **PUT)
    cache.put(key("some 6 apples"), unit(1, 0.2), "six", **PUT)
    assert cache.get(key("6 apples"), unit(1)).answer == "six"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("two plus 2", "2 plus two", True),
        ("1,000 steps", "1000 steps", True),
        ("with sugar", "without sugar", False),
        ("I can't swim", "I can swim", False),
        ("I can’t swim", "I can't swim", True),
        ("chapter 3", "chapter 4", False),
        ("from 3 to 4", "from 4 to 3", False),
        ("three cats and two dogs", "3 cats and 2 dogs please", True),
        ("does the cat chase the dog", "does the dog chase the cat", False),
        ("capital of France", "capital of Spain", False),
        ("what is the capital of France", "please tell me the capital of France", True),
        ("how do plants make food", "explain photosynthesis to me", True),
    ],
)
def test_same_answer_check(one, other, same):
    assert may_share_answer(one, other) is same


def test_time_sensitive_queries_are_not_kept(cache):
    assert is_time_sensitive("what is the latest iPhone")
    assert cache.put(key("who won today"), unit(1), "x", **PUT) is None
    assert not cache.get(key("who won today"), unit(1)).hit


def test_expiry(url):
    now = [0.0]
    cache = SemanticCache(url, threshold=0.9, ttl_s=10, clock=lambda: now[0])
    cache.put(key("q"), unit(1), "a", **PUT)
    now[0] = 10.0
    assert cache.get(key("q")).hit
    now[0] = 10.1
    assert not cache.get(key("q")).hit
    assert not cache.get(key("q2"), unit(1)).hit


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


def test_forget_and_replace(cache):
    first = cache.put(key("q"), unit(1), "old", **PUT)
    second = cache.put(key("q"), unit(1), "new", **PUT)
    assert second > first
    assert cache.get(key("q")).answer == "new"
    assert cache.stats().entries == 1
    assert cache.forget(second)
    assert not cache.forget(second)
    assert not cache.get(key("q")).hit
    assert not cache.get(key("qq"), unit(1)).hit


def test_threads_share_a_cache(cache):
    def work(number: int) -> None:
        for turn in range(20):
            text = f"q {number} {turn}"
            cache.put(key(text), unit(number + 1, turn), text, **PUT)
            assert cache.get(key(text)).answer == text

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.stats().entries == 80


def test_a_file_outlives_its_cache(tmp_path):
    url = f"sqlite:///{tmp_path}/deep/cache.db"
    first = SemanticCache(url, threshold=0.9)
    first.put(key("q"), unit(1), "kept", **PUT)
    first.close()
    second = SemanticCache(url, threshold=0.9)
    assert second.get(key("q")).answer == "kept"
    assert second.get(key("almost q"), unit(1, 0.1)).answer == "kept"
    assert os.stat(tmp_path / "deep" / "cache.db").st_mode & 0o777 == 0o600


def test_two_processes_share_a_file(tmp_path):
    url = f"sqlite:///{tmp_path}/cache.db"
    here = SemanticCache(url, threshold=0.9)
    assert not here.get(key("q")).hit
    code = (
        "import numpy as np\n"
        "from routerlab.cache import *\n"
        f"c = SemanticCache({url!r})\n"
        "s = Scope('a', '', 'tier', '', (), 'e')\n"
        "v = np.eye(1, 8, dtype=np.float32)[0]\n"
        "c.put(CacheKey.of(s, 'q'), v, 'there', tier='simple', model='m', provider='p')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert here.get(key("q")).answer == "there"
    assert here.get(key("nearly q"), unit(1)).answer == "there"


@pytest.mark.parametrize("kind", ["garbage", "foreign", "newer", "truncated", "directory"])
def test_a_file_that_is_no_cache_is_refused_and_left_alone(tmp_path, kind):
    path = tmp_path / "cache.db"
    if kind == "garbage":
        path.write_bytes(b"this is not a database at all" * 50)
    elif kind == "directory":
        path.mkdir()
    elif kind == "foreign":
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE mine (x)")
    else:
        cache = SemanticCache(f"sqlite:///{path}")
        for number in range(200):
            cache.put(key(f"q{number}"), unit(1, number), "a" * 100, **PUT)
        cache.close()
        if kind == "newer":
            with sqlite3.connect(path) as db:
                db.execute("PRAGMA user_version = 99")
        else:
            path.write_bytes(path.read_bytes()[:6_000])
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CacheFileError, match=r"another file|left as it is|choose"):
        SemanticCache(f"sqlite:///{path}").get(key("q199"), unit(1))
    assert before is None or path.read_bytes() == before


def test_unknown_url_says_which_there_are():
    with pytest.raises(CacheFileError, match="memory://"):
        SemanticCache("redis://here")


def test_nonsense_parameters_are_refused():
    with pytest.raises(ValueError, match="threshold"):
        SemanticCache(threshold=0)
    with pytest.raises(ValueError, match="max_entries"):
        SemanticCache(max_entries=0)


def test_calibration_file(tmp_path):
    path = tmp_path / "c.json"
    assert calibrated_threshold("e", path) == 0.95
    CacheCalibration(0.87, "e", 0.01).save(path)
    assert calibrated_threshold("e", path) == 0.87
    assert calibrated_threshold("another", path) == 0.95
    path.write_text("[]")
    with pytest.raises(CacheFileError, match="03_calibrate_cache"):
        calibrated_threshold("e", path)
