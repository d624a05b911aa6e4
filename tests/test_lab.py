"""Traffic, benchmark, report, generation, live checks: the parts that notebooks call."""

import asyncio
import json

import pandas as pd
import pytest

from routerlab.billing import Session
from routerlab.errors import DataError, ResultsError
from routerlab.lab import benchmark, comparison, report, summarize, summary
from routerlab.lab.arena import RouterFactory, endpoints_for
from routerlab.lab.cache_plots import ARMS
from routerlab.lab.frontier_words import NAMES
from routerlab.lab.provenance import manifest
from routerlab.lab.queries import load_benchmark, load_variants
from routerlab.lab.recordings import RecordingHub, load_recording
from routerlab.lab.traffic import Mix, make_traffic
from routerlab.lab.vectors import KeptVectors

QUERIES, VARIANTS = load_benchmark(), load_variants()


def traffic(requests: int = 60, seed: int = 0, **mix):
    return make_traffic(QUERIES, VARIANTS, requests=requests, seed=seed, mix=Mix(**mix))


def test_traffic_is_seeded():
    assert traffic(seed=4) == traffic(seed=4)
    assert traffic(seed=4) != traffic(seed=5)


def test_traffic_follows_its_mix():
    stream = pd.DataFrame(traffic(4_000, same_words=0.5, near_miss=0.2, follow_up=0.0))
    assert (stream.kind == "same_words").mean() == pytest.approx(0.5, abs=0.03)
    assert (stream.kind == "paraphrase").mean() == pytest.approx(0.3, abs=0.03)
    assert (
        stream[stream.kind == "paraphrase"].group == stream[stream.kind == "paraphrase"].family
    ).all()
    near = stream[~stream.kind.isin(["same_words", "paraphrase"])]
    assert (near.group != near.family).all()
    flat = pd.DataFrame(traffic(4_000, zipf_exponent=0.0)).family.value_counts()
    steep = pd.DataFrame(traffic(4_000, zipf_exponent=1.5)).family.value_counts()
    assert steep.iloc[0] > 3 * flat.iloc[0]


def test_a_mix_of_more_than_all_is_refused():
    with pytest.raises(ValueError, match="shares"):
        Mix(same_words=0.9, near_miss=0.2)


@pytest.fixture(scope="module")
def rows(catalog, model_dir):
    stream = traffic(50)

    async def run() -> pd.DataFrame:
        with endpoints_for("simulated", stream, catalog, time_scale=0, seed=0) as endpoints:
            factory = RouterFactory(endpoints, model_dir, Session())
            arms = benchmark.arms(catalog, 0, stream)
            parts = [await benchmark.run_arm(a, stream, factory, progress=False) for a in arms]
        return pd.concat(parts, ignore_index=True)

    return asyncio.run(run())


def test_every_request_of_every_arm_has_a_row(rows):
    assert rows.groupby("arm").number.apply(list).map(lambda n: n == list(range(50))).all()
    assert (rows.end_state == "complete").all()
    assert (rows["mode"] == "simulated").all()
    assert (rows.usage_source == "provider")[rows.cache.isin(["miss", "off"])].all()


def test_only_the_routed_arm_caches(rows):
    routed = rows[rows.arm == "routed"]
    assert set(rows[rows.arm != "routed"].cache) == {"off"}
    again = routed.duplicated(["tenant", "group", "kind"])
    repeated = routed[again & (routed.kind == "same_words")]
    assert (repeated.cache == "exact").all()
    assert routed[routed.cache == "exact"].false_hit.eq(False).all()
    assert routed[routed.cache.isin(["exact", "semantic"])].cost_usd.eq(0).all()


def test_policies_are_paired_and_ordered_by_cost(rows):
    cost = summarize.cost(rows, seed=0)
    values = {name: metric["value"] for name, metric in cost.items()}
    assert (
        values["always_cheapest_usd"]
        < values["routed_no_cache_usd"]
        < values["always_strongest_usd"]
    )
    assert values["routed_usd"] <= values["routed_no_cache_usd"]
    saved = 1 - values["routed_usd"] / values["always_strongest_usd"]
    assert values["saved"] == pytest.approx(saved)


def test_figures_come_from_the_rows(rows):
    routed = rows[rows.arm == "routed"]
    cache = summarize.cache(rows, seed=0)
    hits = routed.cache.isin(["exact", "semantic"])
    assert cache["hit_rate"]["value"] == pytest.approx(hits.mean())
    assert cache["exact_hits"]["value"] + cache["semantic_hits"]["value"] == pytest.approx(
        hits.mean()
    )
    assert summarize.latency(rows, 0)["route_ms"]["p50"]["value"] == routed.route_ms.median()
    parts = summarize.breakdown(rows, seed=0)
    assert sum(part["route_ms"]["n"] for part in parts["by_tier"].values()) == len(routed)
    assert sum(part["route_ms"]["n"] for part in parts["by_provider"].values()) == len(routed)
    for part in [parts["overall"], *parts["by_tier"].values(), *parts["by_provider"].values()]:
        assert part["cost_usd"]["low"] <= part["cost_usd"]["value"] <= part["cost_usd"]["high"]
    assert summarize.billing(rows, 0)["usage_from_provider"]["value"] == 1


def test_token_error_is_measured_on_others_counts_alone(rows):
    assert summarize.billing(rows, 0)["token_error"] == {}
    theirs = rows.assign(mode="live", input_tokens=rows.estimated_input_tokens * 2)
    error = summarize.billing(theirs, 0)["token_error"]
    assert {kind: parts["p95"]["value"] for kind, parts in error.items()} == dict.fromkeys(
        error, 0.5
    )
    assert "exact" in error


def test_a_false_hit_is_seen(catalog, model_dir, embedder):
    """With the check off and a low threshold, a near miss is served, and counted against us."""
    from routerlab.cache import SemanticCache
    from routerlab.router import LLMRouter

    near = next(v for v in VARIANTS if not v.same_answer and v.kind == "number")
    query = next(q for q in QUERIES if q.id == near.query_id)
    stream = [
        benchmark.Request(0, query.text, query.id, query.id, query.tier, "same_words"),
        benchmark.Request(1, near.text, query.id, near.id, query.tier, near.kind),
    ]

    async def run() -> pd.DataFrame:
        with endpoints_for("simulated", stream, catalog, time_scale=0, seed=0) as endpoints:

            def careless(arm, clock):
                cache = SemanticCache(threshold=0.65)
                router = LLMRouter(
                    endpoints=endpoints, embedder=embedder, model_dir=model_dir, cache=cache
                )
                return {stream[0].tenant.name: router}

            arm = benchmark.arms(catalog, 0, stream)[0]
            return await benchmark.run_arm(arm, stream, careless, progress=False)

    assert asyncio.run(run()).false_hit.tolist() == [False, True]


def small_report() -> report.Report:
    metric = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    names_of_scores = "accuracy macro_f1 qwk under_routing over_routing"
    score = dict.fromkeys(names_of_scores.split(), metric)
    column = {
        **score,
        "ece": metric,
        "confusion": {"labels": ["simple"], "counts": [[1]]},
        "reliability": [{"confidence": 0.9, "accuracy": 0.8, "n": 10}],
        "baselines": dict.fromkeys(
            ["majority", "length_only", "keywords", "tfidf", "nearest_neighbour"], score
        ),
    }
    four = {"route_ms": metric, "cost_usd": metric, "hit_rate": metric, "accuracy": metric}
    outcome = dict.fromkeys("apgr cpt50 cpt80 aiq over_zero regret".split(), metric)
    arm = {
        **dict.fromkeys(["hit_rate", "false_hit_rate", "correct_hit_rate", "audits"], metric),
        "false_hit_rate_by_quarter": [metric] * 4,
    }
    names = "routed_usd routed_no_cache_usd always_strongest_usd always_cheapest_usd random_usd"
    names += " oracle_usd"
    steps = [
        {"step": step, "usd": metric, "share": metric}
        for step in ("routing", "exact cache", "semantic cache")
    ]
    point = {"value": 1, **dict.fromkeys(["hit_rate", "false_hit_rate", "saved"], metric)}
    return {
        "provenance": {
            "commit": "0" * 40,
            "dirty": False,
            "mode": "simulated",
            "seed": 0,
            "price_date": "2026-11-01",
            "lock_sha256": "0" * 64,
            "inputs": {"catalog.toml": "0" * 64},
            "versions": {"python": "3.11"},
            "started": "2026-11-24T00:00:00+00:00",
            "seconds": 1.0,
        },
        "classification": {
            "train_cv": column,
            "benchmark": column,
            "ablation": [{"blocks": ["words"], "benchmark": metric}],
            "learning_curve": [{"rows": 10, "benchmark": metric}],
            "decision_costs": [{"cost": 1.0, **score}],
            "training": {
                "rows": 10,
                "kept": 9,
                "domains": 3,
                "readers_agree": metric,
                "against_shortcuts": dict.fromkeys(["length", "keywords", "both"], metric),
            },
            "tuning": {"strength": 1.0, "temperature": 1.0, "losses": {}, "temperatures": {}},
            "classify_ms": metric,
            "spent_usd": 0.0,
        },
        "latency": {
            "route_ms": {"p50": metric, "p95": metric},
            "stages_ms": dict.fromkeys(benchmark.STAGES, metric),
        },
        "cost": {
            **dict.fromkeys(
                [*names.split(), "saved_by_routing", "saved_by_cache", "saved"], metric
            ),
            "by_policy": {
                name.removesuffix("_usd"): dict.fromkeys(
                    ["usd", "hit_rate", "false_hit_rate", "too_weak"], metric
                )
                for name in names.split()
            },
            "paired": {
                f"{a}_vs_{b}": {"usd": metric, "saved": metric} for a, b in comparison.PAIRS
            },
            "waterfall": {
                "start_usd": metric,
                "end_usd": metric,
                "forward": steps,
                "reverse": steps[::-1],
            },
            "router_cpu_ms": {"mean": metric},
            "method": comparison.METHOD,
        },
        "sensitivity": {
            "streams": 2,
            "requests": 10,
            "method": comparison.METHOD,
            **{name: [point] for name in ("zipf_exponent", "max_entries", "ttl_hours")},
        },
        "cache": {
            **dict.fromkeys(["hit_rate", "false_hit_rate", "exact_hits", "semantic_hits"], metric),
            "threshold": 0.9,
            "max_false_hit_rate": 0.01,
            "precision": metric,
            "calibration": {
                "near_miss_share": 0.5,
                "thresholds": {},
                "separation": {},
                "served": {
                    "verifier": {"paraphrases_served": metric, "near_misses_served": metric}
                },
            },
            "streams": {"paraphrases": dict.fromkeys(ARMS, arm)},
            "latency_ms": {"exact": metric, "decision": metric},
        },
        "streaming": {
            "ttft_ms": metric,
            "overhead_ratio": metric,
            "faults": {"none": "complete"},
            "faults_as_expected": metric,
            "concurrent": {"streams": 9, "rounds": 2, "lost": 0, "mixed": 0, "growth_mb": 0.1},
        },
        "billing": {
            "total_usd": metric,
            "usage_from_provider": metric,
            "token_error": {},
            "references": [{"name": "x", "expected": 1, "got": 1}],
        },
        "by_tier": {"simple": dict(four)},
        "by_provider": {"openai": four},
        "frontier": {"mmlu": {"labels_1500": dict.fromkeys(NAMES, outcome)}},
        "frontier_details": {
            **{key: {} for key in ("published", "curves", "thresholds", "domains", "candidates")},
            "notes": ["gsm8k: not at hand"],
            "verdicts": ["MMLU: learned wins."],
        },
        "figures": {"confusion": "A confusion matrix."},
    }


def test_report_is_checked_and_summarized(tmp_path):
    path = report.write_report(tmp_path, small_report())
    assert json.loads(path.read_text())["version"] == report.REPORT_VERSION
    text = summary.write_summary(tmp_path, small_report()).read_text()
    assert "simulated" in text
    assert "![A confusion matrix.](figures/confusion.png)" in text
    assert "50.0% [40.0%, 60.0%]" in text
    assert "| random mix | $0.50 [$0.40, $0.60] |" in text
    assert "| MMLU | labels_1500 | learned | 0.500 [0.400, 0.600] |" in text
    assert "| MMLU | published | similarity-weighted ranking | 0.603 |" in text
    assert "- Left out: gsm8k: not at hand" in text
    cached = "| benchmark paraphrases and near misses | verifier, controlled |"
    assert f"{cached} 50.0% [40.0%, 60.0%] | 50.00% [40.00%, 60.00%] |" in text
    assert "| exact hit, in memory, median | 0.500 [0.400, 0.600] |" in text


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda r: r.pop("cost"), "cost"),
        (lambda r: r["cost"].pop("saved"), "cost"),
        (lambda r: r["latency"]["route_ms"].update(p50=3), "latency/route_ms/p50"),
        (lambda r: r["provenance"].update(mode="guessed"), "provenance/mode"),
        (lambda r: r.update(extra=1), "extra"),
        (lambda r: r["frontier"]["mmlu"]["labels_1500"].pop("oracle"), "labels_1500"),
        (lambda r: r["by_tier"]["simple"].pop("hit_rate"), "by_tier/simple"),
        (
            lambda r: r["cost"].update(saved={"value": float("nan"), "low": 0, "high": 0, "n": 1}),
            "finite",
        ),
    ],
)
def test_a_report_that_breaks_its_schema_is_not_written(tmp_path, spoil, says):
    made = small_report()
    spoil(made)
    with pytest.raises(ResultsError, match=says):
        report.write_report(tmp_path, made)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_section_names_its_notebook(tmp_path):
    with pytest.raises(ResultsError, match="run notebook 03_calibrate_cache first"):
        report.load_section(tmp_path, "03_calibrate_cache")


def test_results_that_cannot_be_written_say_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="results_dir"):
        report.save_section(tmp_path / "file", "x", {})


def test_manifest_lists_every_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_text("x")
    (tmp_path / "manifest.json").write_text("{}")
    assert list(manifest(tmp_path)) == ["a/b.txt"]


def test_kept_vectors_are_the_embedders(tmp_path, embedder):
    texts = ["one", "two", "one"]
    first = KeptVectors(embedder, tmp_path)
    assert (first.encode(texts)[0] == first.encode(texts)[2]).all()

    class Never:
        id, dimension = embedder.id, embedder.dimension

        def encode(self, texts):
            raise AssertionError("asked again")

    again = KeptVectors(Never(), tmp_path)
    assert (again.encode(texts) == first.encode(texts)).all()
    assert again.encode([]).shape == (0, embedder.dimension)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"broken")
    assert KeptVectors(embedder, tmp_path).encode(texts).shape == (3, embedder.dimension)
    with pytest.raises(DataError, match="ROUTERLAB_CACHE"):
        KeptVectors(embedder, path / "folder").encode(texts)


async def test_a_stream_is_recorded_as_it_came(make_router, tmp_path):
    from routerlab import StreamingRouter

    router = make_router(cache=None)
    router.hub = RecordingHub(router.hub, tmp_path)
    text = "".join([c.content async for c in StreamingRouter(router).route_query_stream("hi you")])
    (path,) = tmp_path.iterdir()
    recording = load_recording(tmp_path, path.stem)
    assert "".join(piece for _, piece in recording.chunks) == text
    assert [ms for ms, _ in recording.chunks] == sorted(ms for ms, _ in recording.chunks)
    path.write_text("{}")
    with pytest.raises(DataError, match="make record"):
        load_recording(tmp_path, path.stem)
