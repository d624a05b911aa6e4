"""Streams in any packets, and cut anywhere: the same text and bill, or the text so far."""

import asyncio

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import read_to_end

from routerlab.errors import IncompleteAnswer, ProviderError
from routerlab.lab import faults
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.faults import Fault
from routerlab.lab.simulator import Simulator
from routerlab.lab.wire import WireAnswer
from routerlab.providers import ChatRequest, Deadlines, Finished, ProviderHub
from routerlab.query import Message

MODELS = ["gpt-6-luna", "claude-haiku-5-5"]
# Line ends of other kinds, a joint emoji, an accent apart, three and four bytes a character.
HARD = [
    "\r\n",
    "\n\n",
    "\u2028",
    "\x85",
    "data: ",
    "👩‍👩‍👧",
    "e\u0301",
    "日本",
    "🙂",
    "ß",
    '"\\',
    "[DONE]",
]
PIECES = st.lists(
    st.one_of(st.sampled_from(HARD), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)),
    min_size=1,
    max_size=6,
)
CUTS = st.one_of(
    st.integers(1, 40),
    st.sets(st.integers(1, 3000), max_size=30).map(lambda cuts: tuple(sorted(cuts))),
)
FEW = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def server(catalog):
    with Simulator(catalog, time_scale=0) as running:
        yield running


@pytest.fixture(scope="module")
def ask(server):
    """Text and end (or error) of one stream; all on one loop with one pool of connections."""
    hub = ProviderHub(server.catalog, ServerEndpoints(server), Deadlines(retries=0, read_s=5))

    async def stream(model: str, pieces: list[str], fault: Fault):
        server.pieces = lambda _: pieces
        server.script(fault)
        request = ChatRequest(server.catalog.model(model), (Message("user", "Go"),), 10_000)
        return await read_to_end(hub, request)

    with asyncio.Runner() as runner:
        yield lambda *given: runner.run(stream(*given))
        runner.run(hub.close())


@pytest.mark.parametrize("model", MODELS)
@FEW
@given(pieces=PIECES, packets=CUTS)
def test_any_packets_give_the_same_text_and_usage(ask, model, pieces, packets):
    plain = ask(model, pieces, Fault())
    text, end = ask(model, pieces, Fault(packets=packets))
    assert (text, end) == plain
    assert (text, end.end_state) == ("".join(pieces), "complete")
    assert end.usage.source == "provider"


@pytest.mark.parametrize("model", MODELS)
@FEW
@given(pieces=PIECES, at=st.integers(0, 3000), packets=CUTS)
def test_a_cut_at_any_byte_keeps_the_text_so_far(ask, model, pieces, at, packets):
    text, end = ask(model, pieces, Fault(cut_at_byte=at, packets=packets))
    assert "".join(pieces).startswith(text)
    if isinstance(end, Finished):  # the cut came after the finish reason, or after the end
        assert text == "".join(pieces)
    else:
        assert end.partial_text == text
        assert end.retryable
        assert type(end) is (IncompleteAnswer if text else ProviderError)


@given(pieces=PIECES, packets=CUTS)
@settings(max_examples=100, derandomize=True)
def test_packets_hold_the_same_bytes(pieces, packets):
    for provider in ("openai", "anthropic", "google", "mistral", "xai"):
        answer = WireAnswer("m", tuple(pieces), "stop", 10, 5, 2)
        plain = list(faults.events(provider, answer, Fault(), usage_asked=True))
        cut = list(faults.events(provider, answer, Fault(packets=packets), usage_asked=True))
        assert b"".join(data for _, data in cut) == b"".join(data for _, data in plain)
        assert all(data for _, data in cut)
        assert [number for number, _ in cut] == sorted(number for number, _ in cut)
        assert cut[-1][0] == plain[-1][0] == len(pieces) - 1
        if isinstance(packets, int):
            assert {len(data) for _, data in cut[:-1]} <= {packets}


async def test_packets_reach_the_client_as_they_were_cut(server):
    """Otherwise the tests above would try nothing: no layer between joins them."""
    server.pieces = lambda _: ["日本 ", "🙂"]
    server.script(Fault(packets=7))
    body = {"model": MODELS[0], "stream": True, "messages": [{"role": "user", "content": "Go"}]}
    headers = {"authorization": f"Bearer {server.api_key}"}
    url = f"{server.url}/openai/v1/chat/completions"
    async with (
        httpx2.AsyncClient() as client,
        client.stream("POST", url, json=body, headers=headers) as reply,
    ):
        sizes = [len(chunk) async for chunk in reply.aiter_raw()]
    assert set(sizes[:-1]) == {7}
    assert len(sizes) > 50
