"""The fault matrix through the router, and many streams at once: what the report says of them."""

from routerlab.lab.faultmatrix import CASES, COMPLETE, KEPT, by_fault, fault_matrix, one_model_each
from routerlab.lab.load import concurrent_streams


async def test_every_fault_at_every_provider_ends_as_it_must(catalog, embedder, model_dir):
    outcomes = await fault_matrix(catalog, embedder, model_dir)
    assert len(outcomes) == len(CASES) * len(one_model_each(catalog)) == 6 * len(CASES)
    assert [one for one in outcomes if not one.right] == []
    told = by_fault(outcomes)
    assert told == {name: case.expected for name, case in CASES.items()}
    assert told["none"] == COMPLETE
    assert told["cut mid-stream"] == KEPT


async def test_500_streams_at_once_are_all_there_and_themselves(catalog, embedder, model_dir):
    load = await concurrent_streams(catalog, embedder, model_dir, streams=500, rounds=1, seed=0)
    assert (load.streams, load.lost, load.mixed) == (500, 0, 0)


async def test_memory_stays_flat_over_20_rounds(catalog, embedder, model_dir):
    load = await concurrent_streams(catalog, embedder, model_dir, streams=10, rounds=20, seed=0)
    assert (load.lost, load.mixed) == (0, 0)
    assert load.growth_mb < 10
