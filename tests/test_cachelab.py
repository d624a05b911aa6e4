"""The cache's laboratory: pairs, the verifier's fit, thresholds, streams against the real cache."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from routerlab.cache import CacheKey, Scope, SemanticCache
from routerlab.cache.calibration import CacheCalibration
from routerlab.cache.controller import ThresholdController
from routerlab.errors import DataError
from routerlab.lab import answerpairs, cachefit, cachespeed, metrics, streams
from routerlab.lab.queries import load_benchmark, load_variants
from routerlab.lab.vectors import KeptVectors

ANSWER = {"tier": "simple", "model": "gpt-6-luna", "provider": "openai"}


@pytest.fixture(scope="module")
def embedder():
    return KeptVectors()


@pytest.fixture(scope="module")
def families():
    return answerpairs.load_families()


@pytest.fixture(scope="module")
def benchmark():
    return answerpairs.benchmark_families(load_benchmark(), load_variants())


@pytest.fixture(scope="module")
def fitted(families, embedder):
    """A verifier of some families, with its held-out scores and the pairs."""
    some = families[:60]
    rarity = cachefit.rarity_of(text for family in some for text in family.texts)
    pairs = answerpairs.pairs_of(some)
    train = cachefit.weigh(pairs, rarity, embedder)
    verifier, held_out = cachefit.fit_verifier(train, None, rarity, embedder.id, seed=0)
    return verifier, held_out, train, pairs


def test_every_benchmark_query_has_four_paraphrases_and_four_near_misses_of_kinds(benchmark):
    assert len(benchmark) == 100
    for family in benchmark:
        assert len(family.paraphrases) == len(family.near_misses) == 4, family.id
        assert len({kind for kind, _ in family.near_misses}) >= 3, family.id


def test_written_families_share_no_topic_with_the_benchmark(families, benchmark, embedder):
    """Whoever tests on the benchmark's families must not have learnt from their like."""
    ours = embedder.encode([family.query for family in families])
    theirs = embedder.encode([family.query for family in benchmark])
    assert (ours @ theirs.T).max() < 0.8
    spelt = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), sublinear_tf=True)
    written = spelt.fit_transform([text for family in families for text in family.texts])
    tested = spelt.transform([text for family in benchmark for text in family.texts])
    assert (written @ tested.T).max() < 0.65


def test_halves_of_the_benchmark_share_no_family():
    one, other = answerpairs.split_families(load_benchmark(), seed=0)
    assert not one & other
    assert len(one | other) == 100
    assert abs(len(one) - len(other)) <= 4  # 25 a tier


def test_reworded_near_misses_are_among_the_families(families, embedder):
    """Closeness alone must not tell a near miss: some are further away than most paraphrases."""
    cosines = {True: [], False: []}
    for family in families[::6]:
        vectors = embedder.encode(family.texts)
        good = len(family.paraphrases)
        near = vectors[1:] @ vectors[0]
        cosines[True] += near[:good].tolist()
        cosines[False] += near[good:].tolist()
    far_misses = np.mean(np.array(cosines[False]) < np.median(cosines[True]))
    near_misses = np.mean(np.array(cosines[False]) > np.median(cosines[True]))
    assert far_misses > 0.2
    assert near_misses > 0.2


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("{", "row 2"),
        ('{"id": "x", "query": "q", "paraphrases": [], "near_misses": []}', "needs a query"),
        ('{"id": "x", "query": "q", "paraphrases": ["p"]}', "near_misses"),
    ],
)
def test_a_broken_family_is_named(tmp_path, row, what):
    good = (
        '{"id": "a", "query": "a", "paraphrases": ["b"],'
        ' "near_misses": [{"kind": "number", "text": "c"}]}'
    )
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{good}\n{row}\n")
    with pytest.raises(DataError, match=what):
        answerpairs.load_families(path)


def test_pairs_have_both_labels_and_know_the_query(families):
    family = families[0]
    pairs = answerpairs.pairs_of([family])
    good, near = 1 + len(family.paraphrases), len(family.near_misses)
    assert sum(pair.same for pair in pairs) == good * (good - 1) // 2
    assert sum(not pair.same for pair in pairs) == good * near
    assert sum(pair.first for pair in pairs) == good - 1 + near


def test_quora_halves_share_no_question_and_no_chain():
    try:
        one, other = answerpairs.quora(seed=0)
    except DataError as error:
        pytest.skip(str(error))
    asked = [{n for pair in half.pairs for n in pair} for half in (one, other)]
    assert not asked[0] & asked[1]
    assert not {int(one.answers[n]) for n in asked[0]} & {int(one.answers[n]) for n in asked[1]}
    drawn = answerpairs.drawn(other, 500, seed=1)
    assert 500 <= len(drawn.texts) == len(set(drawn.texts)) <= 501
    a, b = drawn.pairs[0]
    assert (drawn.answers[a] == drawn.answers[b]) >= drawn.same[0]


def test_the_verifier_learns_what_a_cosine_does_not_see(fitted, benchmark, embedder):
    verifier, *_ = fitted
    pairs = [pair for pair in answerpairs.pairs_of(benchmark) if pair.first]
    test = cachefit.weigh(pairs, verifier.rarity, embedder)
    found = cachefit.separation(fitted[2], test, pairs, seed=0)
    assert found["verifier"]["auc"] > found["cosine alone"]["auc"] + 0.1
    assert verifier.score("convert 5 km to miles", "convert 6 km to miles", 0.99) < 0.4


def test_a_text_serves_itself_whatever_it_looks_like(fitted, benchmark):
    texts = [text for family in benchmark for text in family.texts]
    scores = fitted[0].scores([(text, text) for text in texts], [1.0] * len(texts))
    assert scores.min() == 1
    assert fitted[0].score("Is 5 km far?", "is 5 km far", 0.97) == 1
    for other in ("is 6 km far", "is (5 km) far", "is 5! km far"):
        assert fitted[0].score("is 5 km far", other, 0.97) < 1
    assert fitted[0].score("😀", "😢", 0.97) < 1


def test_held_out_scores_are_calibrated(fitted):
    _, held_out, train, _ = fitted
    for low in (0.0, 0.25, 0.5):
        inside = (held_out >= low) & (held_out < low + 0.25)
        assert abs(held_out[inside].mean() - train.same[inside].mean()) < 0.12


def test_thresholds_keep_the_bound_of_near_misses_served():
    draw = np.random.default_rng(0)
    scores, near_miss = draw.random(4_000), np.ones(4_000, dtype=bool)
    found = cachefit.set_thresholds(scores, near_miss, "e")
    assert isinstance(found, CacheCalibration)
    for rate, threshold in found.thresholds.items():
        served = int((scores >= threshold).sum())
        allowed = float(rate) / cachefit.NEAR_MISS_SHARE
        assert metrics.upper_bound(served, 4_000) <= allowed
        assert metrics.upper_bound(served + 1, 4_000) > allowed
    assert "0.01" in found.thresholds


def test_too_few_near_misses_support_no_small_rate():
    found = cachefit.set_thresholds(np.linspace(0, 1, 40), np.ones(40, dtype=bool), "e")
    assert "0.001" not in found.thresholds
    assert found.threshold(0.001) is None


@pytest.mark.parametrize("audited", [False, True])
@pytest.mark.parametrize("verified", [False, True])
def test_an_arm_decides_as_the_real_cache_does(
    fitted, benchmark, embedder, verified, audited, monkeypatch
):
    """The table of neighbours is a short cut, no other cache."""
    monkeypatch.setattr("routerlab.cache.controller.LEAST_VERDICTS", 60)
    verifier = fitted[0]
    questions = answerpairs.some_of(answerpairs.as_questions(benchmark[:60]), 500, seed=2)
    stream = streams.make_stream(questions, verifier, embedder)

    def controller() -> ThresholdController:
        return ThresholdController(0.8, max_false_hit_rate=0.05, audited=audited, seed=1)

    served = streams.run_arm(stream, streams.Arm("x", verified, controller))
    cache = SemanticCache(verifier=verifier if verified else None, controller=controller())
    scope = Scope("t", "", "tier", "", (), embedder.id).hash
    groups = dict(zip(questions.texts, questions.answers.tolist(), strict=True))
    vectors = embedder.encode(questions.texts)
    hits, right, audits = [], [], 0
    for text, vector in zip(questions.texts, vectors, strict=True):
        key = CacheKey(scope, text)
        found = cache.get(key)
        if not found.hit:
            found = cache.get(key, vector)
        if found.audit is not None:
            audits += 1
            cache.judged(found.audit, groups[found.audit.source] == groups[text])
        hits.append(found.hit)
        right.append(found.hit and groups[found.source_query] == groups[text])
        if not found.hit:
            cache.put(key, vector, "answer", **ANSWER)
    assert hits == served.hit.tolist()
    assert right == served.right.tolist()
    assert audits == served.audits
    assert any(hits)
    assert (audits > 60) is audited


def test_summaries_have_every_rate_and_quarter(fitted, benchmark, embedder):
    questions = answerpairs.some_of(answerpairs.as_questions(benchmark[:20]), 120, seed=0)
    stream = streams.make_stream(questions, fitted[0], embedder)
    found = streams.run_arms([stream], streams.arms(0.8, 0.9, 0.01, seed=0))
    assert list(found) == [
        *("none", "exact", "static_0.8", "static_0.9", "static_0.95"),
        *("no_verifier", "no_controller", "whole"),
    ]
    summary = streams.summarize(found["static_0.8"])
    hit, false = summary["hit_rate"]["value"], summary["false_hit_rate"]["value"]
    assert summary["correct_hit_rate"]["value"] == pytest.approx(hit - false)
    assert 0 < false < hit
    quarters = [part["value"] for part in summary["false_hit_rate_by_quarter"]]
    assert np.mean(quarters) == pytest.approx(false)
    assert not found["none"][0].hit.any()


def test_speed_is_measured_for_every_operation(fitted):
    found = cachespeed.measure(
        fitted[0], ["alpha", "beta", "gamma"], sizes=(1_000,), seed=0, progress=False
    )
    assert set(found) == {
        *("semantic_1k", "exact", "decision", "put_p95_1k", "sqlite_exact", "sqlite_put_p95")
    }
    assert all(metric.value > 0 for metric in found.values())
