"""The committed data: counts, labels, leakage, and what a malformed file says."""

import json
from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, cross_val_predict

from routerlab.errors import DataError
from routerlab.files import DATA_DIR, sha256_bytes
from routerlab.lab import datasets
from routerlab.lab.baselines import keywords, learners
from routerlab.lab.fitting import features
from routerlab.lab.queries import (
    BENCHMARK_FILE,
    check_benchmark,
    load_benchmark,
    load_training,
    load_variants,
    part,
    undisputed,
)
from routerlab.lab.vectors import KeptVectors
from routerlab.types import TIERS

NEAR_DUPLICATE = 0.9
RELATED = 0.8
"""Stricter where the other side is what we measure on."""


@pytest.fixture(scope="module")
def kept(embedder):
    return KeptVectors(embedder)


@pytest.fixture(scope="module")
def train(kept):
    return features(load_training(), kept)


@pytest.fixture(scope="module")
def benchmark(kept):
    return features(load_benchmark(), kept)


def test_benchmark_is_100_queries_25_a_tier():
    queries = load_benchmark()
    assert Counter(query.tier for query in queries) == dict.fromkeys(TIERS, 25)
    assert all(len({q.domain for q in queries if q.tier == tier}) >= 12 for tier in TIERS)


def test_training_has_2000_queries_of_every_tier_and_many_domains():
    rows = load_training()
    counts = Counter(row.tier for row in rows)
    assert counts.total() >= 2_000
    assert min(counts[tier] for tier in TIERS) >= 400
    assert len({row.domain for row in rows}) >= 25
    assert len({row.brief for row in rows}) >= 10
    assert sum(row.context != () for row in rows) >= 10


def test_every_benchmark_query_has_variants():
    variants = load_variants()
    for query in load_benchmark():
        own = [variant for variant in variants if variant.query_id == query.id]
        assert sum(variant.same_answer for variant in own) >= 2, query.id
        assert sum(not variant.same_answer for variant in own) >= 1, query.id
    assert {variant.query_id for variant in variants} <= {query.id for query in load_benchmark()}


def test_training_is_not_near_benchmark_or_variants(train, kept):
    queries, variants = load_benchmark(), load_variants()
    texts = [*(query.text for query in queries), *(variant.text for variant in variants)]
    nearness = train.vectors @ kept.encode(texts).T
    row, column = np.unravel_index(nearness.argmax(), nearness.shape)
    assert nearness.max() < RELATED, (train.texts[row], texts[column])


def test_training_is_not_near_real_queries(train, kept):
    """Where their texts are at hand: nothing trained on is even a relative of one."""
    try:
        real = kept.encode([query.text for query in datasets.load_real_dev()])
    except DataError as error:
        pytest.skip(str(error))
    assert (train.vectors @ real.T).max() < RELATED


def test_near_duplicates_in_training_share_a_family(train):
    nearness = np.triu(train.vectors @ train.vectors.T, 1)
    for row, column in zip(*np.where(nearness >= NEAR_DUPLICATE), strict=True):
        assert train.families[row] == train.families[column], train.texts[row]


def test_families_do_not_straddle_files(train, benchmark):
    assert not set(train.families) & set(benchmark.families)


def test_what_the_readers_dispute_is_not_trained_on():
    rows = load_training()
    disputed = [row for row in rows if row.second not in (None, row.tier)]
    assert 0 < len(disputed) < 0.05 * len(rows)
    assert not {row.id for row in disputed} & {row.id for row in undisputed(rows)}
    assert all(row.second for row in rows)


def test_a_part_is_of_whole_families():
    rows = load_training()
    some = part(rows, 0.1, seed=0)
    assert 0.05 < len(some) / len(rows) < 0.15
    assert part(rows, 0.1, seed=0) == some != part(rows, 0.1, seed=1)
    kept = {row.family for row in some}
    assert {row.id for row in rows if row.family in kept} == {row.id for row in some}
    assert part(rows, 1.0, seed=0) == rows
    with pytest.raises(DataError, match="share"):
        part(rows, 0.0, seed=0)


def test_a_third_goes_against_the_shortcuts(train):
    """Length, cross-validated, and a rule on keywords each misjudge at least a third."""
    texts = np.array(train.texts, dtype=object)
    model = learners(seed=0)["length_only"]
    by_length = cross_val_predict(model, texts, train.tiers, groups=train.families)
    assert (by_length != train.tiers).mean() > 1 / 3
    assert (keywords(train.texts) != train.tiers).mean() > 1 / 3


def test_length_gives_no_tier_away(train, benchmark):
    """A length-only model stays under 45 %, cross-validated and on the benchmark."""
    texts = np.array(train.texts, dtype=object)
    model = learners(seed=0)["length_only"]
    guessed = cross_val_predict(model, texts, train.tiers, groups=train.families, cv=GroupKFold(5))
    assert (guessed == train.tiers).mean() < 0.45
    assert (
        model.fit(train.texts, train.tiers).predict(benchmark.texts) == benchmark.tiers
    ).mean() < 0.45


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[:-1], "25 queries a tier"),
        (lambda rows: [*rows[:-1], rows[-2]], "stands twice"),
        (lambda rows: [{**rows[0], "tier": "easy"}, *rows[1:]], "row 1"),
        (lambda rows: [{**rows[0], "text": " "}, *rows[1:]], "row 1"),
        (lambda rows: [{"id": "x"}, *rows[1:]], "row 1"),
        (lambda rows: "queries", "row 1"),
    ],
)
def test_malformed_benchmark_says_where(tmp_path, change, says):
    raw = json.loads(BENCHMARK_FILE.read_text())
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps({**raw, "queries": change(raw["queries"])}))
    with pytest.raises(DataError, match=says):
        load_benchmark(path)


def test_files_that_cannot_be_read_say_so(tmp_path):
    with pytest.raises(DataError, match="git"):
        load_benchmark(tmp_path / "none.json")
    broken = tmp_path / "training.jsonl"
    broken.write_bytes(b'{"id": 1}\n{"half')
    with pytest.raises(DataError, match="row 1"):
        load_training(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot read"):
        load_training(broken)
    with pytest.raises(DataError):
        check_benchmark((), "nothing")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No network, no mirror, an empty download cache."""
    monkeypatch.setenv("ROUTERLAB_CACHE", str(tmp_path))
    monkeypatch.delenv("ROUTERLAB_MIRROR", raising=False)
    monkeypatch.setattr(datasets, "_RAW", "http://127.0.0.1:9/{repository}/{commit}/{path}")
    return tmp_path


def test_without_network_and_mirror_it_says_what_to_do(offline):
    with pytest.raises(DataError, match="ROUTERLAB_MIRROR"):
        datasets.load_real_dev()
    lines = datasets.fetch_all()
    assert len(lines) == 1 + len({file.folder for file in datasets.public_files()})
    assert all("make data" in line for line in lines)


def made_up(offline, monkeypatch, text: str) -> None:
    row = {
        "id": "alpaca_eval/1",
        "tier": "simple",
        "text_sha256": sha256_bytes(b"a real query"),
        "repository": "someone/somewhere",
        "commit": "0" * 40,
        "path": "outputs.json",
    }
    labels = offline / "labels.jsonl"
    labels.write_text(json.dumps(row) + "\n")
    monkeypatch.setattr(datasets, "LABELS_FILE", labels)
    kept = offline / "datasets" / row["repository"] / row["commit"] / row["path"]
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps([{"instruction": text, "output": "x"}]))


def test_texts_come_from_the_download_cache_by_hash(offline, monkeypatch):
    made_up(offline, monkeypatch, "  a real query\n")
    (query,) = datasets.load_real_dev()
    assert (query.text, query.tier) == ("a real query", "simple")


def test_a_text_that_is_not_the_labelled_one_is_refused(offline, monkeypatch):
    made_up(offline, monkeypatch, "another text")
    with pytest.raises(DataError, match="not what their labels say"):
        datasets.load_real_dev()


def test_no_real_text_is_committed():
    """Labels travel with the project; the texts of other people's data sets do not."""
    hashes = {
        json.loads(line)["text_sha256"]
        for line in datasets.LABELS_FILE.read_text().split("\n")
        if line
    }
    ours = [*load_benchmark(), *load_training(), *load_variants()]
    assert not hashes & {sha256_bytes(row.text.encode()) for row in ours}
    assert all(
        "text" not in json.loads(line) for line in datasets.LABELS_FILE.read_text().splitlines()
    )
    assert datasets.LABELS_FILE.parent == DATA_DIR
