"""The Qdrant store behaves as the other stores do, refuses what is not its own, keeps the key."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import pytest

from routerlab.cache import CacheKey, Scope, SemanticCache
from routerlab.cache.sqlite import SQLiteStore
from routerlab.cache.stores import Entry, MemoryStore, open_store
from routerlab.errors import CacheFileError

qdrant_client = pytest.importorskip("qdrant_client", reason="needs routerlab[qdrant]")
from routerlab.cache import collection as collection_module  # noqa: E402
from routerlab.cache import qdrant  # noqa: E402
from routerlab.cache.qdrant import QdrantStore  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
models = qdrant_client.models
KEY = "very-secret-key-0815"
PUT = {"tier": "simple", "model": "gpt-6-luna", "provider": "openai"}


def unit(*values: float, size: int = 8) -> np.ndarray:
    vector = np.zeros(size, dtype=np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


def entry(text: str, vector: np.ndarray, scope: str = "s", answer: str = "a") -> Entry:
    return Entry(0, scope, text, answer, "simple", "m", "p", 1_700_000_000.25, vector)


def key(text: str, tenant: str = "a") -> CacheKey:
    return CacheKey.of(Scope(tenant, "", "tier", "", (), "e"), text)


@pytest.fixture
def client():
    made = qdrant_client.QdrantClient(":memory:")
    yield made
    made.close()


@pytest.fixture(params=["memory", "sqlite", "qdrant in memory", "qdrant on disk"])
def store(request, tmp_path):
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = SQLiteStore(f"{tmp_path}/cache.db")
    elif request.param == "qdrant in memory":
        made = QdrantStore(qdrant_client.QdrantClient(":memory:"))
    else:
        made = QdrantStore(qdrant_client.QdrantClient(path=f"{tmp_path}/qdrant"))
    yield made
    made.close()


def test_an_empty_store_has_nothing(store):
    assert store.find("s", "q") is None
    assert list(store.nearest("s", unit(1), 0.0, 1)) == []
    assert store.count() == 0
    assert store.evict(0) == 0
    assert not store.remove(1)
    store.touch(1)


def test_exact_and_whole(store):
    stored = entry("wie hoch — ‘q’?\x00\n", unit(1, 2), answer="ü" * 1_000)
    entry_id = store.add(stored)
    found = store.find("s", stored.text)
    assert found.id == entry_id
    assert {**vars(found), "id": 0, "vector": 0} == {**vars(stored), "vector": 0}
    assert found.vector == pytest.approx(stored.vector, abs=1e-6)
    assert found.vector.dtype == np.float32
    assert store.find("s", "q") is None


def test_nothing_crosses_a_scope(store):
    store.add(entry("q", unit(1), "s", "mine"))
    store.add(entry("q", unit(1, 0.1), "t", "yours"))
    assert store.find("u", "q") is None
    assert not list(store.nearest("u", unit(1), 0.0, 5))
    assert [e.answer for e, _ in store.nearest("s", unit(1), 0.0, 5)] == ["mine"]
    assert [e.answer for e, _ in store.nearest("t", unit(1), 0.0, 5)] == ["yours"]


def test_nearest_first_down_to_a_cosine(store):
    for number in range(5):
        store.add(entry(f"q{number}", unit(1, number)))
    near = store.nearest("s", unit(1), 0.3, 10)
    assert [e.text for e, _ in near] == ["q0", "q1", "q2", "q3"]
    assert [c for _, c in near] == pytest.approx([1 / np.hypot(1, n) for n in range(4)], abs=1e-5)
    assert [e.text for e, _ in store.nearest("s", unit(1), 0.3, 2)] == ["q0", "q1"]


def test_replaced_and_forgotten(store):
    first = store.add(entry("q", unit(1), answer="old"))
    second = store.add(entry("q", unit(0, 1), answer="new"))
    assert second > first
    assert store.count() == 1
    assert store.find("s", "q").answer == "new"
    assert not list(store.nearest("s", unit(1), 0.5, 5))
    assert not store.remove(first)
    assert store.remove(second)
    assert not store.remove(second)
    assert store.find("s", "q") is None
    assert store.count() == 0


def test_least_recently_used_goes_first(store):
    ids = [store.add(entry(f"q{number}", unit(1, number))) for number in range(6)]
    for number in (1, 0, 1):
        store.touch(ids[number])
    assert store.evict(6) == 0
    assert store.evict(3) == 3
    assert [n for n in range(6) if store.find("s", f"q{n}")] == [0, 1, 5]
    assert store.evict(2) == 1
    assert [n for n in range(6) if store.find("s", f"q{n}")] == [0, 1]
    store.touch(ids[0])
    store.add(entry("q6", unit(1)))
    assert store.evict(2) == 1
    assert [n for n in range(7) if store.find("s", f"q{n}")] == [0, 6]


def test_closed_is_closed_and_twice_is_once(client):
    store = QdrantStore(client)
    store.touch(store.add(entry("q", unit(1))))
    store.close()
    store.close()
    with pytest.raises(CacheFileError, match="closed"):
        store.find("s", "q")


def test_entries_and_uses_outlive_the_store(tmp_path):
    def opened():
        return QdrantStore(qdrant_client.QdrantClient(path=f"{tmp_path}/qdrant"))

    first = opened()
    ids = [first.add(entry(f"q{number}", unit(1, number))) for number in range(3)]
    first.touch(ids[0])
    first.close()
    second = opened()
    assert second.find("s", "q2").id == ids[2]
    assert second.add(entry("q3", unit(1))) > ids[2]
    assert second.evict(2) == 2
    assert second.find("s", "q0") is not None
    second.close()


def test_a_killed_process_loses_no_entry_that_was_added(tmp_path):
    """Local mode commits each point to a file; a server has its own log. Here: we buffer none."""
    code = (
        "import os\n"
        "from qdrant_client import QdrantClient\n"
        "from test_qdrant import QdrantStore, entry, unit\n"
        f"store = QdrantStore(QdrantClient(path={str(tmp_path / 'qdrant')!r}))\n"
        "store.add(entry('q', unit(1)))\n"
        "os._exit(9)\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment)
    assert done.returncode == 9
    store = QdrantStore(qdrant_client.QdrantClient(path=str(tmp_path / "qdrant")))
    assert store.find("s", "q") is not None
    store.close()


def test_two_stores_share_a_collection(client):
    one, two = QdrantStore(client), QdrantStore(client)
    assert two.find("s", "q") is None
    first = one.add(entry("q", unit(1), answer="one"))
    assert two.find("s", "q").answer == "one"
    second = two.add(entry("q", unit(1), answer="two"))
    assert first != second
    assert one.count() == 1
    assert one.find("s", "q").answer == "two"
    assert not one.remove(first)


def test_a_race_to_create_has_no_loser(client, monkeypatch):
    one, two = QdrantStore(client), QdrantStore(client)
    create = client.create_collection

    def slower(*args, **kwargs):
        monkeypatch.setattr(client, "create_collection", create)
        two.add(entry("other", unit(0, 1)))
        return create(*args, **kwargs)

    monkeypatch.setattr(client, "create_collection", slower)
    one.add(entry("q", unit(1)))
    assert one.count() == 2


def test_ids_grow_are_exact_everywhere_and_differ_between_processes(client, monkeypatch):
    stores = [QdrantStore(client) for _ in range(2)]
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    ids = [[store._stamp() for _ in range(100)] for store in stores]
    for drawn in ids:
        assert drawn == sorted(set(drawn))
        assert all(int(float(number)) == number < 2**53 for number in drawn)
    starts = {QdrantStore(client)._stamp() for _ in range(50)}
    assert len(starts) > 40
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    assert stores[0]._stamp() > ids[0][-1]


def test_a_hit_writes_nothing(client, monkeypatch):
    store = QdrantStore(client)
    entry_id = store.add(entry("q", unit(1)))
    monkeypatch.setattr(client, "batch_update_points", None)
    store.touch(entry_id)
    assert store.find("s", "q")
    assert store.nearest("s", unit(1), 0.5, 1)
    monkeypatch.undo()


def test_what_a_server_is_asked_for(client, monkeypatch):
    """Local mode ignores indexes, graphs and `wait`, so the calls themselves are looked at."""
    calls = {}

    def note(name: str) -> None:
        real = getattr(client, name)

        def noted(*args, **kwargs):
            calls.setdefault(name, []).append(kwargs)
            return real(*args, **kwargs)

        monkeypatch.setattr(client, name, noted)

    note("create_collection")
    note("create_payload_index")
    note("batch_update_points")
    note("query_points")
    store = QdrantStore(client)
    store.add(entry("q", unit(1)))
    store.nearest("s", unit(1), 0.5, 1)
    (created,) = calls["create_collection"]
    assert created["vectors_config"] == models.VectorParams(size=8, distance="Cosine")
    assert {c["field_name"] for c in calls["create_payload_index"]} == {"scope", "id", "used"}
    assert all(c["wait"] for c in calls["create_payload_index"] + calls["batch_update_points"])
    (condition,) = calls["query_points"][0]["query_filter"].must
    assert (condition.key, condition.match.value) == ("scope", "s")


@pytest.fixture
def cache(monkeypatch, client):
    monkeypatch.setattr(qdrant, "connect", lambda url: (client, "routerlab_cache", url))
    made = SemanticCache("qdrant://here", threshold=0.9, max_entries=3)
    yield made
    made.close()


def test_through_the_cache(cache):
    entry_id = cache.put(key("how are tides made"), unit(1), "by the moon", **PUT)
    exact = cache.get(key(" how are tides made "))
    near = cache.get(key("how do tides come"), unit(1, 0.1))
    assert (exact.status, exact.answer, exact.entry_id) == ("exact", "by the moon", entry_id)
    assert (near.status, near.source_query) == ("semantic", "how are tides made")
    assert near.cosine == pytest.approx(1 / np.hypot(1, 0.1), abs=1e-5)
    assert not cache.get(key("how are tides made", "b"), unit(1)).hit
    assert not cache.get(key("who wrote Emma"), unit(0, 1)).hit
    assert cache.forget(entry_id)
    assert not cache.forget(entry_id)
    assert not cache.get(key("how are tides made")).hit


def test_eviction_and_threads_through_the_cache(cache):
    cache.put(key("kept"), unit(1), "kept", **PUT)

    def work(number: int) -> None:
        for turn in range(5):
            assert cache.get(key("kept")).hit
            cache.put(key(f"q {number} {turn}"), unit(0, number, turn), "x", **PUT)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.stats().entries == 3
    assert cache.get(key("kept")).hit


def test_expiry_through_the_cache(monkeypatch, client):
    monkeypatch.setattr(qdrant, "connect", lambda url: (client, "c", url))
    now = [0.0]
    cache = SemanticCache("qdrant://here", threshold=0.9, ttl_s=10, clock=lambda: now[0])
    cache.put(key("q"), unit(1), "a", **PUT)
    now[0] = 10.1
    assert not cache.get(key("q")).hit
    assert not cache.get(key("qq"), unit(1)).hit
    assert cache.stats().entries == 0


@pytest.mark.parametrize("metadata", [None, {"application": "other"}])
def test_a_foreign_collection_is_refused_and_left_alone(client, metadata):
    config = models.VectorParams(size=4, distance="Dot")
    client.create_collection("mine", config, metadata=metadata)
    client.upsert("mine", [models.PointStruct(id=1, vector=[1, 0, 0, 0], payload={"mine": 1})])
    with pytest.raises(CacheFileError, match=r"'mine'.*no routerlab cache.*name another"):
        QdrantStore(client, "mine")
    assert client.count("mine").count == 1
    assert client.retrieve("mine", [1])[0].payload == {"mine": 1}
    QdrantStore(client, "other").add(entry("q", unit(1)))


def test_a_newer_schema_is_refused_and_left_alone(client, monkeypatch):
    monkeypatch.setattr(collection_module, "SCHEMA_VERSION", 2)
    QdrantStore(client).add(entry("q", unit(1)))
    monkeypatch.undo()
    with pytest.raises(CacheFileError, match=r"schema 2, this routerlab reads 1.*routerlab that"):
        QdrantStore(client)
    assert client.count("routerlab_cache").count == 1


def test_another_dimension_is_refused(client):
    store = QdrantStore(client)
    store.add(entry("q", unit(1)))
    with pytest.raises(CacheFileError, match=r"8 dimensions, not 4.*another collection"):
        store.add(entry("p", unit(1, size=4)))
    with pytest.raises(CacheFileError, match="8 dimensions, not 4"):
        store.nearest("s", unit(1, size=4), 0.5, 1)
    assert store.count() == 1


def test_a_collection_that_was_dropped_is_made_anew(client):
    store = QdrantStore(client)
    store.touch(store.add(entry("q", unit(1))))
    client.delete_collection("routerlab_cache")
    with pytest.raises(CacheFileError, match="not found"):
        store.find("s", "q")
    assert store.find("s", "q") is None
    store.add(entry("q", unit(1, size=4)))
    assert store.count() == 1


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(CacheFileError, match=r"pip install 'routerlab\[qdrant\]'"):
        open_store("qdrant://localhost:6333")


def test_the_client_is_not_loaded_before_it_is_needed():
    code = "import sys, routerlab.cache.qdrant; print('qdrant_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unreachable_server_is_told_soon(monkeypatch):
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    for scheme in ("qdrant", "qdrants"):
        began = time.monotonic()
        with pytest.raises(CacheFileError, match=r"127\.0\.0\.1:1.*refused.*server runs") as caught:
            open_store(f"{scheme}://127.0.0.1:1")
        assert time.monotonic() - began < 2
        assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "qdrant://",
        "qdrant:///collection",
        "qdrant://host:port",
        "qdrant://[::1",
        "qdrant://host/a/b",
        f"qdrants://:{KEY}@host",
        f"qdrants://{KEY}@host:6333",
        f"qdrants://host?api_key={KEY}",
        f"qdrants://host#{KEY}",
    ],
)
def test_an_odd_url_is_refused_without_showing_it(url):
    with pytest.raises(CacheFileError, match="QDRANT_API_KEY") as caught:
        open_store(url)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("bad", [f"{KEY}\x00", f"{KEY}\nx", f"{KEY}é"])
def test_a_key_that_no_header_can_carry_is_not_quoted(monkeypatch, bad):
    if "\x00" not in bad:
        monkeypatch.setenv("QDRANT_API_KEY", bad)
    else:  # no environment holds it
        monkeypatch.setattr(os.environ, "get", lambda *_: bad)
    with pytest.raises(CacheFileError, match="set it anew") as caught:
        open_store("qdrants://127.0.0.1:1")
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_the_key_is_looked_up_when_opened_and_sent_over_https_alone(monkeypatch):
    made = []

    class Recorded(qdrant_client.QdrantClient):
        def __init__(self, **options):
            made.append(options)
            super().__init__(":memory:")

    monkeypatch.setattr(qdrant_client, "QdrantClient", Recorded)
    monkeypatch.setenv("QDRANT_API_KEY", f" {KEY}\n")
    stores = [open_store(url) for url in ("qdrants://a.example/mine", "qdrant://[::1]:99")]
    assert [options["api_key"] for options in made] == [KEY, None]
    assert [options["url"] for options in made] == ["https://a.example", "http://[::1]:99"]
    assert [options["port"] for options in made] == [6333, 99]
    assert KEY not in repr(stores) + repr([vars(store) for store in stores])
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"Must provide an API key", r"401 \(Unauthorized\); set QDRANT_API_KEY.*qdrants://"),
        (500, b'{"status": {"error": "disk is full"}}', "disk is full; check that the server"),
        (200, b"<html>not Qdrant</html>", "check that the server runs"),
        (404, b"<html>not Qdrant</html>", "404.*check that the server runs"),
    ],
)
def test_what_a_server_answers_becomes_advice(status, body, said):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with pytest.raises(CacheFileError, match=said) as caught:
            open_store(f"qdrant://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert "\n" not in str(caught.value)


def test_requests_go_over_the_wire_as_meant():
    """A server that notes the requests of an `add`, a `nearest` and an `evict`."""
    asked = []
    info = qdrant_client.QdrantClient(":memory:")
    QdrantStore(info).add(entry("q", unit(1)))
    found = info.get_collection("routerlab_cache").model_dump(mode="json")
    info.close()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length) or "null")
            asked.append((self.command, self.path, body, self.headers))
            done = {"operation_id": 1, "status": "completed"}
            result = {
                "exists": {"exists": True},
                "routerlab_cache": found,
                "batch?wait=true": [done],
                "query": {"points": []},
                "count": {"count": 3},
                "scroll": {"points": [{"id": 1, "payload": {"used": 7}}]},
            }.get(self.path.split("/")[-1], done)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"result": result, "status": "ok", "time": 0}).encode())

        do_GET = do_PUT = do_POST = answer

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        store = open_store(f"qdrant://127.0.0.1:{server.server_port}")
        store.touch(5)
        entry_id = store.add(entry("q", unit(1)))
        store.nearest("s", unit(1), 0.5, 1)
        assert store.evict(2) == 1
        store.close()
        server.shutdown()
        thread.join()
    assert all(headers.get("api-key") is None for *_, headers in asked)
    bodies = {path.rsplit("/", 1)[-1]: body for _, path, body, _ in asked}
    used, upsert = bodies["batch?wait=true"]["operations"]
    assert used["set_payload"]["filter"]["must"][0]["match"] == {"value": 5}
    (point,) = upsert["upsert"]["points"]
    assert point["payload"]["id"] == point["payload"]["used"] == entry_id
    scope = {"key": "scope", "match": {"value": "s"}}
    (condition,) = bodies["query"]["filter"]["must"]
    assert {name: value for name, value in condition.items() if value is not None} == scope
    assert bodies["scroll"]["order_by"] == "used"
    assert bodies["delete?wait=true"]["filter"]["must"][0]["range"]["lte"] == 7
