"""Where entries live: memory and SQLite, one file between processes, kills, refused files."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import neighbour
import numpy as np
import pytest
from entries import DIMENSION, PUT, entry, key, unit
from hypothesis import given, settings
from hypothesis import strategies as st
from neighbour import Neighbour

from routerlab.cache import SemanticCache
from routerlab.cache.index import ScopedIndex, VectorIndex
from routerlab.cache.sqlite import SQLiteStore
from routerlab.cache.stores import MemoryStore, open_store
from routerlab.errors import CacheFileError


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = open_store("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/c.db")
    yield made
    made.close()


def texts_near(store, *place: float, scope: str = "s", count: int = 100) -> list[str]:
    return [found.text for found, _ in store.nearest(scope, unit(*place), 0.6, count)]


def test_a_store_gives_back_what_it_was_given(store):
    given = entry("tëxt \x00 with\nall 🌍", unit(1, 2, 3), "ānswer", scope="t")
    entry_id = store.add(given)
    found = store.find("t", given.text)
    assert (found.id, found.text, found.answer) == (entry_id, given.text, "ānswer")
    assert (found.tier, found.model, found.provider) == tuple(PUT.values())
    assert np.array_equal(found.vector, given.vector)
    assert found.vector.dtype == np.float32
    [(near, cosine)] = store.nearest("t", given.vector, 0.6, 1)
    assert near.id == entry_id
    assert cosine == pytest.approx(1)
    assert store.find("s", given.text) is None
    assert store.nearest("s", given.vector, 0.6, 1) == []


def test_nearest_are_ordered_and_counted(store):
    for number in range(6):
        store.add(entry(f"t{number}", unit(1, number / 10)))
    assert texts_near(store, 1) == [f"t{number}" for number in range(6)]
    assert texts_near(store, 1, count=2) == ["t0", "t1"]
    assert texts_near(store, 0, 0, 1) == []


def test_ids_only_grow(store):
    first = store.add(entry("one", unit(1)))
    store.remove(first)
    second = store.add(entry("two", unit(1)))
    store.remove(second)
    assert store.add(entry("three", unit(1))) > second > first


def test_eviction_takes_the_least_recently_used(store):
    ids = [store.add(entry(f"t{n}", unit(1, n))) for n in range(5)]
    store.touch(ids[0])
    store.touch(ids[2])
    store.touch(ids[0])
    store.touch(99_999)  # unknown
    assert store.evict(5) == 0
    assert store.evict(2) == 3
    assert [n for n in range(5) if store.find("s", f"t{n}")] == [0, 2]
    assert store.evict(1) == 1
    assert store.find("s", "t0")
    assert store.evict(0) == 1
    assert store.count() == 0


def test_an_index_stays_compact_after_evictions(store):
    for number in range(600):
        store.add(entry(f"t{number}", unit(1, number)))
        store.evict(20)
    [index] = store._index._by_scope.values()
    assert len(store._index) == len(index) == store.count() == 20
    assert index.capacity <= 64
    store.evict(0)
    assert not store._index._by_scope


def test_an_index_shrinks_and_keeps_what_is_left():
    index = VectorIndex(DIMENSION)
    for number in range(1000):
        index.add(number, unit(np.cos(number), np.sin(number)))
    assert index.capacity == 1024
    for number in range(1000):
        if number % 100:
            index.remove(number)
    assert index.capacity <= 40
    index.remove(5)  # again
    for number in range(0, 1000, 100):
        assert next(index.nearest(unit(np.cos(number), np.sin(number)), 0.9999))[0] == number
    assert len(index) == 10


places = st.integers(0, 7)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), places, places),
        st.tuples(st.just("remove"), st.integers(1, 30), st.just(0)),
        st.tuples(st.just("touch"), st.integers(1, 30), st.just(0)),
        st.tuples(st.just("evict"), st.integers(0, 5), st.just(0)),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@settings(max_examples=40, deadline=None)
@given(steps=steps)
def test_both_stores_do_the_same(folder, steps):
    path = folder / "same.db"
    for left in folder.glob("same.db*"):
        left.unlink()
    eye = np.eye(DIMENSION, dtype=np.float32)
    with closing(SQLiteStore(str(path))) as kept, closing(MemoryStore()) as plain:
        for what, one, other in steps:
            if what == "add":
                made = entry(f"t{one}", eye[other], f"{one} {other}", scope="ab"[one % 2])
                assert kept.add(made) == plain.add(made)
            else:
                assert getattr(kept, what)(one) == getattr(plain, what)(one)
            assert kept.count() == plain.count() == len(kept._index)
            for scope in "ab":
                for row in eye:
                    told = [
                        [(e.id, e.answer) for e, _ in store.nearest(scope, row, 0.6, 9)]
                        for store in (kept, plain)
                    ]
                    assert sorted(told[0]) == sorted(told[1])


def test_an_index_by_scope_ignores_what_it_does_not_know():
    index = ScopedIndex()
    index.remove(7)
    index.add("a", 1, unit(1))
    assert index.nearest("b", unit(1), 0) == []
    assert [found for found, _ in index.nearest("a", unit(1), 0)] == [1]


def test_a_file_outlives_its_cache(tmp_path):
    url = f"sqlite:///{tmp_path}/deep/cache.db"
    first = SemanticCache(url, threshold=0.9)
    first.put(key("q"), unit(1), "kept", **PUT)
    first.close()
    first.close()
    second = SemanticCache(url, threshold=0.9)
    assert second.get(key("q")).answer == "kept"
    assert second.get(key("almost q"), unit(1, 0.1)).answer == "kept"


def test_a_file_is_its_owners_alone(tmp_path):
    umask = os.umask(0)
    try:
        cache = SemanticCache(f"sqlite:///{tmp_path}/cache.db")
        cache.put(key("q"), unit(1), "private", **PUT)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(umask)
    assert modes["cache.db"] == 0o600
    assert set(modes.values()) == {0o600}  # the log beside it holds the same answers


def test_buffered_touches_survive_close(tmp_path):
    url = f"sqlite:///{tmp_path}/cache.db"
    cache = SemanticCache(url, max_entries=3)
    for number in range(3):
        cache.put(key(f"t{number}"), unit(1, number), "a", **PUT)
    assert cache.get(key("t0")).hit
    assert cache.get(key("t1")).hit
    cache.close()
    cache = SemanticCache(url, max_entries=3)
    cache.put(key("t3"), unit(1, 3), "a", **PUT)
    assert [n for n in range(4) if cache.peek(key(f"t{n}"))] == [0, 1, 3]


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_path_is_always_a_file(tmp_path, monkeypatch, path):
    """SQLite's own names for what is not kept are not meant here."""
    monkeypatch.chdir(tmp_path)
    if not path:
        with pytest.raises(CacheFileError):
            SemanticCache("sqlite:///")
        return
    cache = SemanticCache(f"sqlite:///{path}")
    cache.put(key("q"), unit(1), "kept", **PUT)
    cache.close()
    assert SemanticCache(f"sqlite:///{path}").get(key("q")).hit


@pytest.fixture(scope="module")
def other():
    made = Neighbour()
    yield made
    made.close()


@pytest.fixture
def here(other, tmp_path):
    """A cache of this process; `other` has the same file open."""
    path = tmp_path / "cache.db"
    cache = SemanticCache(f"sqlite:///{path}", threshold=0.9, max_entries=50)
    other.ask("open", str(path), 50)
    yield cache
    cache.close()
    other.ask("close")


def near(cache, *place: float) -> str | None:
    return cache.get(key("a text nobody stored"), unit(*place)).answer


def test_what_another_process_writes_is_found(here, other):
    assert not here.get(key("q")).hit
    other.ask("put", "q", "there", 1)
    assert here.get(key("q")).answer == "there"
    assert near(here, 1, 0.1) == "there"
    here.put(key("mine"), unit(0, 1), "here", **PUT)
    assert other.ask("exact", "mine") == "here"
    assert other.ask("near", 0, 1) == "here"


def test_interleaved_writes_lose_nothing(here, other):
    eye = np.eye(DIMENSION).tolist()
    for row in range(DIMENSION):
        if row % 2:
            here.put(key(f"t{row}"), unit(*eye[row]), f"a{row}", **PUT)
        else:
            other.ask("put", f"t{row}", f"a{row}", *eye[row])
        if row % 3 == 0:  # one side writes twice before the other looks
            here.put(key(f"u{row}"), unit(*eye[row]), f"a{row}", **PUT)
    for row in range(DIMENSION):
        assert near(here, *eye[row]) == other.ask("near", *eye[row]) == f"a{row}"
    assert here.stats().entries == other.ask("entries") == DIMENSION + 3


def test_removals_and_replacements_by_another_process_hold(here, other):
    gone = other.ask("put", "gone", "old", 1)
    other.ask("put", "changed", "old", 0, 1)
    assert (near(here, 1), near(here, 0, 1)) == ("old", "old")
    assert other.ask("forget", gone)
    other.ask("put", "changed", "new", 0, 1)
    assert near(here, 1) is None
    assert here.get(key("gone")).answer is None
    assert near(here, 0, 1) == here.get(key("changed")).answer == "new"
    assert not here.forget(gone)
    mine = here.put(key("mine"), unit(0, 0, 1), "a", **PUT)
    assert other.ask("near", 0, 0, 1) == "a"
    assert here.forget(mine)
    assert other.ask("near", 0, 0, 1) is None
    assert other.ask("exact", "mine") is None


def test_a_process_that_only_reads_stays_compact(here, other):
    """Every entry that another process evicts leaves this one's index too, found or not."""
    for number in range(400):
        other.ask("put", f"t{number}", "a", 1, number)
        if number % 10 == 0:
            near(here, 1, number)
    assert near(here, 1, 399) == "a"
    assert other.ask("entries") == here.stats().entries == 50
    assert len(here._store._index) <= 4 * 50


def test_many_processes_open_a_new_file_at_once(tmp_path):
    code = (
        "import sys\n"
        "from routerlab.cache import SemanticCache\n"
        "import routerlab.cache.sqlite\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        f"SemanticCache('sqlite:///{tmp_path}/new.db').close()\n"
    )
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        for _ in range(4)
    ]
    for process in started:
        process.stdout.readline()
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate()[1] for process in started]
    assert outcomes == [""] * 4


def test_what_was_acknowledged_survives_fifty_kills(tmp_path):
    path = tmp_path / "cache.db"
    command = [sys.executable, neighbour.__file__, "--kill", str(path), "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    acknowledged = json.loads(done.stdout)
    assert len(acknowledged) >= 50
    neighbour._check(path, acknowledged)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def a_cache_file(path) -> None:
    cache = SemanticCache(f"sqlite:///{path}")
    for number in range(200):
        cache.put(key(f"q{number}"), unit(1, number), "a" * 100, **PUT)
    cache.close()


REFUSED = {
    "garbage": "file is not a database",
    "tiny": "file is not a database",
    "foreign": "something else",
    "foreign cache": "something else",
    "newer": "schema 99, this routerlab reads 1",
    "older": "schema 0, this routerlab reads 1",
    "truncated": "left as it is",
    "directory": "unable to open|disk I/O",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_no_cache_is_refused_and_left_alone(tmp_path, kind):
    path = tmp_path / "cache.db"
    if kind == "garbage":
        path.write_bytes(b"this is not a database at all" * 50)
    elif kind == "tiny":
        path.write_bytes(b"hello")
    elif kind == "directory":
        path.mkdir()
    elif kind.startswith("foreign"):
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"CREATE TABLE {'entry' if 'cache' in kind else 'mine'} (x)")
            db.execute("PRAGMA user_version = 1")
    else:
        a_cache_file(path)
        if kind == "truncated":
            path.write_bytes(path.read_bytes()[:6_000])
        else:
            with closing(sqlite3.connect(path)) as db:
                db.execute(f"PRAGMA user_version = {99 if kind == 'newer' else 0}")
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CacheFileError, match=REFUSED[kind]) as caught:
        SemanticCache(f"sqlite:///{path}").get(key("q199"), unit(1))
    assert "move it away" in str(caught.value) or "choose another file" in str(caught.value)
    assert before is None or path.read_bytes() == before
    assert {found.name for found in tmp_path.iterdir()} == {"cache.db"}


@pytest.mark.parametrize("kind", ["foreign", "newer"])
def test_a_refused_file_keeps_its_log(tmp_path, kind):
    """What a killed process left in the log beside the file is not moved into it either."""
    path, crashed = tmp_path / "live.db", tmp_path / "crashed"
    crashed.mkdir()
    db = sqlite3.connect(path, isolation_level=None)
    if kind == "newer":
        db.close()
        a_cache_file(path)
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA user_version = 99")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE mine (x)")
    for name in ("live.db", "live.db-wal"):
        shutil.copy(tmp_path / name, crashed / name)
    db.close()
    before = {found.name: found.read_bytes() for found in crashed.iterdir()}
    with pytest.raises(CacheFileError, match=r"something else|schema 99"):
        SemanticCache(f"sqlite:///{crashed}/live.db")
    after = {found.name: found.read_bytes() for found in crashed.iterdir()}
    assert {name: after.get(name) for name in before} == before


def test_a_file_of_anothers_folder_is_refused_in_our_terms(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CacheFileError, match="choose another file"):
        SemanticCache(f"sqlite:///{tmp_path}/file/cache.db")


def test_damage_found_later_is_told_in_our_terms(tmp_path):
    path = tmp_path / "cache.db"
    a_cache_file(path)
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(CacheFileError, match="left as it is"):
        SemanticCache(f"sqlite:///{path}").get(key("q199"), unit(1))
    assert path.read_bytes() == data
