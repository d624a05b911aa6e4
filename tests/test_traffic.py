"""The request stream, its replay in process against the run through the SDKs, and what is drawn."""

import asyncio
import itertools
import json
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from routerlab.billing import Session
from routerlab.lab import benchmark, comparison, plots, summarize, traffic_plots
from routerlab.lab.arena import RouterFactory, endpoints_for
from routerlab.lab.queries import load_benchmark, load_variants
from routerlab.lab.replay import World, differences, replay
from routerlab.lab.sameness import without_timings
from routerlab.lab.synthesis import synthesize, written
from routerlab.lab.traffic import FOLLOW_UPS, LABELLED_KINDS, TENANTS, Mix, make_traffic
from routerlab.policies import TierPolicy

QUERIES, VARIANTS = load_benchmark(), load_variants()


def traffic(requests: int = 80, seed: int = 0, **mix):
    return make_traffic(QUERIES, VARIANTS, requests=requests, seed=seed, mix=Mix(**mix))


def test_sessions_keep_their_tenant_their_order_and_their_tier():
    stream = traffic(2_000, follow_up=0.5)
    assert [request.number for request in stream] == list(range(2_000))
    times = [request.at_s for request in stream]
    assert times == sorted(times)
    sessions = defaultdict(list)
    for request in stream:
        sessions[request.session].append(request)
    longest = 0
    for turns in sessions.values():
        assert len({(turn.tenant, turn.family, turn.tier) for turn in turns}) == 1
        for before, after in itertools.pairwise(turns):
            assert after.earlier == before.turns
            assert after.text in FOLLOW_UPS[after.tier]
            assert after.group != before.group
            assert (after.kind in LABELLED_KINDS) == (before.kind in LABELLED_KINDS)
        longest = max(longest, len(turns))
    assert longest == 3
    follows = np.mean([bool(request.earlier) for request in stream])
    assert follows == pytest.approx(0.75 / 1.75, abs=0.03)


def test_follow_ups_are_judged_with_the_turn_that_they_continue():
    for request in traffic(400, follow_up=1.0):
        if request.earlier:
            assert request.judged_text.endswith("\n" + request.text)
    texts = Counter(text for choice in FOLLOW_UPS.values() for text in choice)
    assert set(texts.values()) == {1}, "the length of an answer goes by the text: one tier each"


def test_tiers_and_tenants_come_in_their_shares():
    shares = {"simple": 0.6, "medium": 0.4}
    stream = traffic(3_000, tier_shares=shares, follow_up=0.0)
    tiers = Counter(request.tier for request in stream)
    assert set(tiers) == set(shares)
    assert tiers["simple"] / 3_000 == pytest.approx(0.6, abs=0.03)
    tenants = Counter(request.tenant.name for request in stream)
    assert tenants[TENANTS[0].name] / 3_000 == pytest.approx(TENANTS[0].share, abs=0.03)
    assert len({tenant.system_prompt for tenant in TENANTS}) == len(TENANTS) == 2


@pytest.mark.parametrize("profile", ["daily", "bursty", "flat"])
def test_arrivals_keep_their_rate_and_their_profile(profile):
    stream = traffic(4_800, profile=profile, per_hour=100, follow_up=0.0)
    hours = np.array([request.at_s / 3600 for request in stream])
    assert hours[-1] == pytest.approx(48, rel=0.08)
    busy = {
        "daily": np.abs(hours % 24 - 12) < 6,
        "bursty": hours % 1 < 0.1,
        "flat": hours % 24 < 12,
    }[profile].mean()
    # By the integral of the profile; a daily swing has 1/2 + 0.45 / (0.55 pi) around noon.
    expected = {"daily": 0.5 + 0.45 / (0.55 * np.pi), "bursty": 0.1 / 0.19, "flat": 0.5}[profile]
    assert busy == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    "wrong",
    [{"follow_up": 1.5}, {"per_hour": 0}, {"tier_shares": {"simple": 0.0}}],
)
def test_a_mix_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        Mix(**wrong)


def test_what_is_written_is_what_the_server_says(catalog):
    for model in catalog.models:
        asked = [{"role": "user", "content": "Explain tides."}]
        told = synthesize(model, asked, 60, seed=3, length=lambda _: 70, words_a_piece=8)
        text, output, cut = written(model, "Explain tides.", 60, seed=3, length=lambda _: 70)
        assert (text, cut) == (told.text, told.truncated) == (told.text, True)
        assert output == told.visible_tokens + told.reasoning_tokens
        assert len(told.pieces) == len(told.due_ms) == 8


@pytest.fixture(scope="module")
def factory(model_dir):
    return RouterFactory(None, model_dir, Session())


@pytest.fixture(scope="module")
def world(factory, catalog):
    return World.of(factory, catalog, 0)


def test_a_replay_is_what_the_sdks_would_have_seen(catalog, model_dir, world):
    """Every policy, sessions and tenants, a small cache that forgets: row by row the same."""
    stream = traffic(70, follow_up=0.4, zipf_exponent=2.0)

    async def run() -> list[list[str]]:
        options = {"time_scale": 0, "seed": 0, "words_a_piece": 8}
        with endpoints_for("simulated", stream, catalog, **options) as endpoints:
            served = RouterFactory(endpoints, model_dir, Session())
            arms = [*benchmark.arms(catalog, 0, stream), *comparison.partial_arms(catalog)]
            arms.append(replace(arms[0], name="small", max_entries=5, ttl_s=3600.0))
            found = []
            for arm in arms:
                rows = await benchmark.run_arm(arm, stream, served, progress=False)
                assert (rows.turn > 0).any()
                assert rows.tenant.nunique() == 2
                assert rows.cache.isin(["exact", "semantic"]).any() == arm.cached
                found.append(differences(rows, replay(arm, stream, world)))
            return found

    assert asyncio.run(run()) == [[]] * 10


def test_a_difference_is_seen(world):
    arm = benchmark.Arm("routed", TierPolicy())
    rows = replay(arm, traffic(5), world)
    assert differences(rows, rows.assign(cost_usd=rows.cost_usd + 1e-6)) == ["cost_usd"]


def test_nothing_passes_between_tenants_and_conversations(world):
    arm = benchmark.Arm("routed", TierPolicy(), exact=True, semantic=True)
    opening = replace(traffic(1)[0], session=0)
    other = replace(opening, tenant=TENANTS[TENANTS[0] == opening.tenant], session=1, number=1)
    again = replace(opening, session=2, number=2)
    follow = [
        replace(r, text="And another one like that?", earlier=(r.text,))
        for r in (opening, other, again)
    ]
    rows = replay(arm, [opening, other, again, *follow], world)
    assert rows.cache.tolist() == ["miss", "miss", "exact", "miss", "miss", "exact"]


def test_answers_age_by_the_clock_of_the_traffic(world):
    arm = benchmark.Arm("routed", TierPolicy(), exact=True, ttl_s=60.0)
    one = traffic(1)[0]
    stream = [replace(one, session=n, at_s=at) for n, at in enumerate((0.0, 59.0, 61.0))]
    assert replay(arm, stream, world).cache.tolist() == ["miss", "exact", "miss"]


@pytest.fixture(scope="module")
def compared(world):
    streams = {seed: traffic(60, seed) for seed in (0, 1, 2)}
    return comparison.replay_all(streams, world)


def test_both_orders_of_the_waterfall_lead_to_the_same_place(compared):
    falls = comparison.waterfall(compared, 0)
    start, end = falls["start_usd"]["value"], falls["end_usd"]["value"]
    for order in ("forward", "reverse"):
        saved = sum(step["usd"]["value"] for step in falls[order])
        assert start - saved == pytest.approx(end)
        shares = sum(step["share"]["value"] for step in falls[order])
        assert shares == pytest.approx(1 - end / start)
    assert [one["step"] for one in falls["forward"]] == list(comparison.FORWARD)
    total = compared[compared.arm == "always_strongest"].cost_usd.sum()
    assert start == pytest.approx(total / 3)


def test_pairs_are_of_the_same_requests(compared, catalog):
    policies, pairs = comparison.by_policy(compared, catalog), comparison.paired(compared, 0)
    for key, one in pairs.items():
        a, b = (policies[name]["usd"]["value"] for name in key.split("_vs_"))
        assert one["usd"]["value"] == pytest.approx(a - b)
        assert one["saved"]["value"] == pytest.approx(1 - a / b)
    assert policies["oracle"]["too_weak"]["value"] == 0
    assert policies["always_strongest"]["too_weak"]["value"] == 0
    assert policies["always_cheapest"]["too_weak"]["value"] > 0.5
    assert policies["routed"]["usd"]["n"] == 3


def test_a_larger_cache_and_steeper_popularity_serve_more(world, compared, catalog):
    section = comparison.sensitivity(
        world,
        lambda exponent, seed: traffic(150, seed, zipf_exponent=exponent),
        zipf_exponents=[0.0, 2.0],
        cache_sizes=[3, 1_000],
        ttl_hours=[0.1, 168],
        zipf_exponent=0.8,
        seeds=range(2),
    )
    for name in ("zipf_exponent", "max_entries", "ttl_hours"):
        low, high = section[name]
        assert low["hit_rate"]["value"] < high["hit_rate"]["value"]
    assert section["max_entries"][1]["saved"] == section["ttl_hours"][1]["saved"]
    cost = {
        "waterfall": comparison.waterfall(compared, 0),
        "by_policy": comparison.by_policy(compared, catalog),
    }
    with plots.style():
        drawn = traffic_plots.figures(cost, section, "simulated")
    for figure, alt in drawn.values():
        assert alt.endswith(".")
        assert "%" in alt
        assert "simulated mode" in " ".join(text.get_text() for text in figure.texts)


def test_the_router_is_measured_without_what_was_kept(factory, catalog):
    unkept = World.of(factory, catalog, 0, kept=False)
    assert unkept.embedder is factory.embedder
    arm = benchmark.Arm("routed", TierPolicy(), exact=True)
    rows = replay(arm, traffic(40, zipf_exponent=3.0), unkept)
    cpu = comparison.router_cpu(rows, 0)
    assert cpu["mean"]["value"] == pytest.approx(rows.cpu_ms.mean())
    assert 0 < cpu["exact"]["value"] < cpu["miss"]["value"]


def measured(catalog, model_dir) -> dict[str, object]:
    """What notebook 04 reports, on little traffic, by the same calls."""
    stream = traffic(15, follow_up=0.3)

    async def run() -> tuple[pd.DataFrame, RouterFactory]:
        options = {"time_scale": 0.001, "seed": 0, "words_a_piece": 8}
        with endpoints_for("simulated", stream, catalog, **options) as endpoints:
            served = RouterFactory(endpoints, model_dir, Session())
            parts = [
                await benchmark.run_arm(arm, stream, served, progress=False)
                for arm in benchmark.arms(catalog, 0, stream)
            ]
        return pd.concat(parts, ignore_index=True), served

    rows, served = asyncio.run(run())
    kept = World.of(served, catalog, 0)
    replayed = comparison.replay_all({seed: traffic(15, seed) for seed in (0, 1)}, kept)
    cost = {
        **summarize.cost(rows, 0),
        "by_policy": comparison.by_policy(replayed, catalog),
        "paired": comparison.paired(replayed, 0),
        "waterfall": comparison.waterfall(replayed, 0),
        "router_cpu_ms": comparison.router_cpu(replayed, 0),
    }
    sensitivity = comparison.sensitivity(
        kept,
        lambda exponent, seed: traffic(15, seed, zipf_exponent=exponent),
        zipf_exponents=[0.0, 1.0],
        cache_sizes=[5],
        ttl_hours=[1],
        zipf_exponent=0.8,
        seeds=range(2),
    )
    return {
        "latency": summarize.latency(rows, 0),
        "cost": cost,
        "sensitivity": sensitivity,
        "cache": summarize.cache(rows, 0),
        "streaming": summarize.streaming(rows, 0),
        "billing": summarize.billing(rows, 0),
        **summarize.breakdown(rows, 0),
    }


def test_two_runs_with_one_seed_report_the_same(catalog, model_dir):
    first, second = measured(catalog, model_dir), measured(catalog, model_dir)
    assert first != second  # timings are measured
    assert json.dumps(without_timings(first)) == json.dumps(without_timings(second))
    assert set(without_timings(first)) == set(first) - {"latency"}


def test_timings_and_provenance_are_left_out_wherever_they_stand():
    report = {
        "provenance": {"commit": "x"},
        "cost": {"saved": 1, "router_cpu_ms": {"mean": 2}},
        "rows": [{"route_ms": 3, "hit_rate": 4}],
    }
    assert without_timings(report) == {"cost": {"saved": 1}, "rows": [{"hit_rate": 4}]}
