"""Public outcome data: sizes, base rates, what is dropped, and how files are fetched."""

import http.server
import threading
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from routerlab.errors import DataError
from routerlab.files import sha256_bytes
from routerlab.lab import datasets, outcomes
from routerlab.lab.datasets import PublicFile, fetch, public_files


def load(name: str) -> outcomes.Outcomes:
    try:
        return outcomes.LOADERS[name]()
    except DataError as error:
        pytest.skip(f"neither mirror nor network: {error}")


def rates(found: outcomes.Outcomes) -> list[float]:
    return found.scores.mean(axis=0).tolist()


def test_mmlu_is_the_published_set():
    """14,042 rows upstream less 5 contaminated and 105 repeated; rates as RouteLLM prints them."""
    found = load("mmlu")
    assert found.scores.shape == (13_932, 2)
    assert len(set(found.texts)) == len(found)
    assert len(set(found.domains)) == 57
    assert rates(found) == pytest.approx([0.681, 0.806], abs=0.001)


def test_gsm8k_is_the_published_set():
    found = load("gsm8k")
    assert found.scores.shape == (1_307, 2)
    assert rates(found) == pytest.approx([0.637, 0.858], abs=0.001)
    assert found.costs.mean(axis=0)[1] > 20 * found.costs.mean(axis=0)[0]


def test_mt_bench_is_the_published_set():
    found = load("mt_bench")
    assert found.scores.shape == (72, 2)
    assert rates(found) == pytest.approx([8.281, 9.212], abs=0.001)
    assert sorted(set(found.domains)) == sorted(
        "coding extraction humanities math reasoning roleplay stem writing".split()
    )
    assert 0 <= found.unit_scores.min() < found.unit_scores.max() == 1


def test_llmrouter_has_no_leaked_row():
    found = load("llmrouter")
    train = {t for t, out in zip(found.texts, found.held_out, strict=True) if not out}
    test = {t for t, out in zip(found.texts, found.held_out, strict=True) if out}
    assert (len(train), len(test)) == (5_608, 500 - 119)
    assert not train & test
    assert (len(found.models), len(set(found.domains))) == (9, 14)
    held_out = found.scores[found.held_out]
    assert held_out.mean(axis=0).max() == pytest.approx(0.597, abs=0.001)
    assert held_out.max(axis=1).mean() == pytest.approx(0.750, abs=0.001)
    assert (np.diff(found.costs.mean(axis=0)) >= -1e-12).all()


def test_tidy_is_one_row_a_query_and_model():
    tidy = load("mt_bench").tidy()
    assert list(tidy.columns) == ["query", "domain", "model", "score", "cost"]
    assert len(tidy) == 72 * 2
    means = tidy.groupby("model").score.mean()
    assert means["gpt-4-1106-preview"] == pytest.approx(9.212, abs=0.001)


def test_prices_of_the_pair_are_the_vendors():
    import datetime as dt

    from genai_prices import Usage, calc_price

    named = {
        outcomes.CHEAP: ("mistral", "open-mixtral-8x7b"),
        outcomes.STRONG: ("openai", "gpt-4-1106-preview"),
    }
    for model, (provider, reference) in named.items():
        price = calc_price(
            Usage(input_tokens=1_000_000, output_tokens=1_000_000),
            model_ref=reference,
            provider_id=provider,
            genai_request_timestamp=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        )
        expected = (float(price.input_price), float(price.output_price))
        assert outcomes.PAIR_USD_PER_MTOK[model] == expected


def test_shapes_that_do_not_fit_are_refused():
    two = np.zeros((2, 1))
    fine = outcomes.Outcomes("x", ("a", "b"), ("d", "d"), ("m",), two, two, two, two[:, 0] > 0)
    with pytest.raises(DataError, match="differ in number"):
        replace(fine, texts=("a",))


def test_without_the_files_each_benchmark_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("ROUTERLAB_CACHE", str(tmp_path))
    monkeypatch.delenv("ROUTERLAB_MIRROR", raising=False)
    monkeypatch.setattr(datasets, "_RAW", "http://127.0.0.1:9/{repository}/{commit}/{path}")
    found, notes = outcomes.load_all()
    assert found == {}
    assert [note.split(":")[0] for note in notes] == list(outcomes.LOADERS)
    assert all("ROUTERLAB_MIRROR" in note for note in notes)


def test_listed_files_are_pinned():
    assert {len(file.commit) for file in public_files()} == {40}
    assert len({file.path for file in public_files()}) == len(public_files()) == 70


BODY = bytes(range(256)) * 4_000


class Ranged(http.server.BaseHTTPRequestHandler):
    """Serves BODY; honours ranges; the first answer to each path breaks off half-way."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.split("=")[1].rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        until = len(BODY) if wanted else len(BODY) // 2
        self.wfile.write(BODY[start:until])

    def log_message(self, *_):
        pass


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A pinned file on a server whose first download breaks off."""
    monkeypatch.setenv("ROUTERLAB_CACHE", str(tmp_path))
    monkeypatch.delenv("ROUTERLAB_MIRROR", raising=False)
    monkeypatch.setattr(Ranged, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranged) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        raw = f"http://127.0.0.1:{server.server_port}/{{repository}}/{{commit}}/{{path}}"
        monkeypatch.setattr(datasets, "_RAW", raw)
        yield PublicFile("folder", "some/one", "0" * 40, "a/file.bin", sha256_bytes(BODY))
        server.shutdown()


def test_a_download_goes_on_where_it_broke_off(remote):
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch(remote)
    assert fetch(remote).read_bytes() == BODY
    assert Ranged.asked == [None, f"bytes={len(BODY) // 2}-"]
    assert fetch(remote).read_bytes() == BODY
    assert len(Ranged.asked) == 2


def test_a_file_that_is_not_the_expected_one_is_refused(remote):
    with pytest.raises(DataError):
        fetch(remote)
    with pytest.raises(DataError, match="is not some/one/a/file"):
        fetch(replace(remote, sha256="0" * 64))


def test_the_mirror_comes_first(remote, tmp_path, monkeypatch):
    mirrored = tmp_path / "mirror" / "folder" / "a" / "file.bin"
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(BODY)
    monkeypatch.setenv("ROUTERLAB_MIRROR", str(tmp_path / "mirror"))
    assert fetch(remote) == mirrored
    assert Ranged.asked == []
