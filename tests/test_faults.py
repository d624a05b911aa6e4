"""Every fault of the wire on the adapters: the real SDKs over HTTP, no router between."""

import asyncio
import socket
import time
from contextlib import aclosing
from dataclasses import replace

import pytest
from reading import read_to_end

from routerlab.errors import IncompleteAnswer, ProviderError
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.faults import Fault
from routerlab.lab.simulator import Simulator
from routerlab.providers import ChatRequest, Connection, Deadlines, Finished, ProviderHub
from routerlab.query import Message

MODELS = [
    "gpt-6-luna",
    "claude-haiku-5-5",
    "gemini-3.8-flash",
    "grok-4.7",
    "mistral-small-2603",
    "openai/gpt-oss-120b",
]
ADAPTERS = MODELS[:2]
PIECES = ("Grüße ", "aus ", "Zürich: ", "日本 ", "🙂 ", "e\u0301 ", "\u2028\x85 ", "Ende.")
TEXT = "".join(PIECES)
OVERLOADED = "Overloaded"


@pytest.fixture
def wire(catalog):
    """A server that answers with `PIECES`, reads 5 tokens from its cache and reasons in secret."""
    models = tuple(replace(model, hidden_reasoning=0.5) for model in catalog.models)
    reasoning = replace(catalog, models=models)
    with Simulator(reasoning, time_scale=0, pieces=lambda _: PIECES, cached_tokens=5) as server:
        yield server


def hub_of(server, **deadlines) -> ProviderHub:
    given = {"retries": 0, "read_s": 5.0, **deadlines}
    return ProviderHub(server.catalog, ServerEndpoints(server), Deadlines(**given))


def request_of(server, model, *, limit=1000) -> ChatRequest:
    return ChatRequest(server.catalog.model(model), (Message("user", "How are you?"),), limit)


async def streamed(hub, request):
    """Text and end of a stream, or text and error; the error must carry the text that came."""
    text, end = await read_to_end(hub, request)
    await hub.close()
    assert end is not None
    assert getattr(end, "partial_text", text) == text
    return text, end


async def whole(hub, request):
    try:
        return await hub.provider(request.model).complete(request)
    finally:
        await hub.close()


def chain(error) -> str:
    """All that a traceback of the error would show."""
    shown = []
    while error is not None:
        shown += [str(error), repr(error), repr(getattr(error, "__dict__", ""))]
        error = error.__cause__ or error.__context__
    return " ".join(shown)


# name: (fault, pieces kept, class, retryable, words of the message)
BROKEN = {
    "429": (Fault(status=429, retry_after_s=0.01), 0, ProviderError, True, "rate limit"),
    "500": (Fault(status=500), 0, ProviderError, True, "HTTP 500"),
    "529": (Fault(status=529), 0, ProviderError, True, "HTTP 529"),
    "400": (Fault(status=400), 0, ProviderError, False, "HTTP 400"),
    "401": (Fault(status=401), 0, ProviderError, False, "check the key in"),
    "404": (Fault(status=404), 0, ProviderError, False, "retired"),
    "refused": (Fault(refused=True), 0, ProviderError, True, "connection"),
    "stall before": (Fault(stall_s=9), 0, ProviderError, True, "in time"),
    "stall after 3": (Fault(stall_s=9, stall_after=3), 3, IncompleteAnswer, True, "in time"),
    "cut at once": (Fault(cut_after=0), 0, ProviderError, True, "connection"),
    "cut after 3": (Fault(cut_after=3), 3, IncompleteAnswer, True, "connection"),
    "no finish": (Fault(no_finish=True), 8, IncompleteAnswer, True, "finish reason"),
    "malformed at once": (Fault(malformed_after=0), 0, ProviderError, True, "not JSON"),
    "malformed after 3": (Fault(malformed_after=3), 3, IncompleteAnswer, True, "not JSON"),
    "error at once": (Fault(error_after=0), 0, ProviderError, True, OVERLOADED),
    "error after 3": (Fault(error_after=3), 3, IncompleteAnswer, True, OVERLOADED),
    "final error after 3": (
        Fault(error_after=3, error_kind="invalid_request_error"),
        3,
        IncompleteAnswer,
        False,
        OVERLOADED,
    ),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_stream_is_an_error_with_its_text(wire, model, name):
    fault, kept, kind, retryable, words = BROKEN[name]
    wire.script(fault)
    hub = hub_of(wire, read_s=0.15 if fault.stall_s else 5.0)
    text, error = await streamed(hub, request_of(wire, model))
    assert text == "".join(PIECES[:kept])
    assert type(error) is kind
    assert error.retryable is retryable
    assert words in str(error)
    assert (error.provider, error.model) == (wire.catalog.model(model).provider, model)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert wire.api_key not in chain(error)
    assert "uthorization" not in chain(error)
    assert len(wire.log) == 1


WHOLE = {name: case for name, case in BROKEN.items() if case[1] in (0, 8)}


@pytest.mark.parametrize("model", ADAPTERS)
@pytest.mark.parametrize("name", WHOLE)
async def test_a_broken_whole_answer_is_an_error(wire, model, name):
    fault, kept, kind, retryable, words = WHOLE[name]
    wire.script(fault)
    hub = hub_of(wire, read_s=0.15 if fault.stall_s else 5.0)
    with pytest.raises(ProviderError) as caught:
        await whole(hub, request_of(wire, model))
    assert caught.value.partial_text == "".join(PIECES[:kept])
    assert (type(caught.value), caught.value.retryable) == (kind, retryable)
    if name != "error at once":  # OpenAI's form has no answer in it, and its SDK does not look
        assert words in str(caught.value)
    assert caught.value.__context__ is None
    assert wire.api_key not in chain(caught.value)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fault", "end_state"),
    [
        (Fault(), "complete"),
        (Fault(packets=1), "complete"),
        (Fault(packets=(1, 2, 250, 251, 252, 400)), "complete"),
        (Fault(stall_s=0.05), "complete"),
        (Fault(stall_s=0.05, stall_after=4), "complete"),
        (Fault(finish="length"), "truncated"),
        (Fault(finish="content_filter"), "truncated"),
        (Fault(finish="refusal"), "truncated"),
        (Fault(finish="pause_turn"), "truncated"),
        (Fault(finish="model_context_window_exceeded"), "truncated"),
        (Fault(finish="tool_calls"), "truncated"),
        (Fault(finish="tool_use"), "truncated"),
    ],
    ids=str,
)
async def test_an_end_that_was_told_is_told_with_all_text_and_usage(wire, model, fault, end_state):
    request = request_of(wire, model)
    usage = (await whole(hub_of(wire), request)).usage
    wire.script(fault)
    text, end = await streamed(hub_of(wire), request)
    assert text == TEXT
    assert end == Finished(end_state, usage)
    wire.script(fault)
    answer = await whole(hub_of(wire), request)
    assert (answer.text, answer.end_state, answer.usage) == (TEXT, end_state, usage)


@pytest.mark.parametrize("model", MODELS)
async def test_usage_is_the_providers_in_one_form(wire, model):
    """Prompt with its cached part, output with the hidden reasoning, from six wire formats."""
    made = wire._reply(model, {"messages": [{"role": "user", "content": "How are you?"}]}).answer
    assert made.reasoning > 0 < made.cached < made.prompt
    _, end = await streamed(hub_of(wire), request_of(wire, model))
    assert end.usage.input_tokens == made.prompt
    assert end.usage.cached_input_tokens == made.cached == 5
    assert end.usage.output_tokens == made.output + made.reasoning


async def test_a_limit_is_reached(wire):
    for model in MODELS:
        text, end = await streamed(hub_of(wire), request_of(wire, model, limit=3))
        assert (text, end.end_state) == ("".join(PIECES[:3]), "truncated")


@pytest.mark.parametrize("model", ADAPTERS)
async def test_a_wrong_key_is_said_without_the_key(wire, model):
    wrong = "sk-very-secret-and-wrong"
    right = ServerEndpoints(wire)

    class Wrong:
        mode = "simulated"

        def connect(self, provider):
            return Connection(right.connect(provider).base_url, wrong)

    hub = ProviderHub(wire.catalog, Wrong(), Deadlines(retries=0))
    _, error = await streamed(hub, request_of(wire, model))
    assert "401" in str(error)
    assert not error.retryable
    assert wrong not in chain(error)
    with pytest.raises(ProviderError) as caught:
        await whole(hub, request_of(wire, model))
    assert wrong not in chain(caught.value)


@pytest.mark.parametrize("model", ADAPTERS)
async def test_a_model_the_provider_has_not(wire, catalog, model):
    request = request_of(wire, model)
    hub = hub_of(wire)
    _, error = await streamed(hub, replace(request, model=replace(request.model, id="gone-1")))
    assert "404" in str(error)
    assert not error.retryable


@pytest.mark.parametrize("model", ADAPTERS)
async def test_nobody_listens(wire, model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    class Closed:
        mode = "simulated"

        def connect(self, provider):
            return Connection(f"http://127.0.0.1:{port}", "key")

    hub = ProviderHub(wire.catalog, Closed(), Deadlines(retries=0))
    text, error = await streamed(hub, request_of(wire, model))
    assert (text, error.retryable, error.__context__) == ("", True, None)
    assert "connection" in str(error)


@pytest.mark.parametrize("model", ADAPTERS)
async def test_retries_come_before_the_answer_only_and_wait_as_told(wire, model):
    wire.script(Fault(status=429, retry_after_s=0.7), Fault(cut_after=3))
    started = time.perf_counter()
    text, error = await streamed(hub_of(wire, retries=2), request_of(wire, model))
    assert time.perf_counter() - started >= 0.7  # the SDK's own first wait is 0.5 s at most
    assert text == "".join(PIECES[:3])
    assert isinstance(error, IncompleteAnswer)
    assert [served.status for served in wire.log] == [429, 200]


@pytest.mark.parametrize("model", ADAPTERS)
async def test_retries_can_be_chosen(wire, model):
    for retries in (0, 1):
        wire.log.clear()
        wire.faults.clear()
        wire.script(*[Fault(status=503, retry_after_s=0.01)] * 5)
        _, error = await streamed(hub_of(wire, retries=retries), request_of(wire, model))
        assert error.retryable
        assert len(wire.log) == retries + 1
    assert Deadlines().retries == 2


@pytest.mark.parametrize("model", ADAPTERS)
async def test_the_server_stops_when_the_client_hangs_up(catalog, model):
    pieces = [f"word{n} " for n in range(2000)]
    with Simulator(catalog, time_scale=1, pieces=lambda _: pieces) as server:
        request = request_of(server, model, limit=10_000)
        hub = hub_of(server)
        async with aclosing(hub.provider(request.model).stream(request)) as events:
            async for _ in events:
                if server.counts["generated"] >= 5:
                    break
        left = server.counts["generated"]
        await asyncio.sleep(0.2)
        assert server.counts["generated"] <= left + 2
        assert server.counts["delivered"] <= server.counts["generated"]
        await hub.close()


@pytest.mark.parametrize("model", ADAPTERS)
async def test_the_server_notices_a_client_that_leaves_a_stall(wire, model):
    wire.script(Fault(stall_s=0.4, stall_after=3))
    text, _ = await streamed(hub_of(wire, read_s=0.1), request_of(wire, model))
    assert text == "".join(PIECES[:3])
    await asyncio.sleep(0.5)
    assert wire.counts["generated"] == wire.counts["delivered"] == 3


AMBIENT = {
    "OPENAI_ORG_ID": "org-of-openai",
    "OPENAI_PROJECT_ID": "proj-of-openai",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_ADMIN_KEY": "admin",
    "OPENAI_CUSTOM_HEADERS": "X-Gateway: secret\nAuthorization: Bearer other",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "ANTHROPIC_AUTH_TOKEN": "token-of-another-host",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Gateway: secret\nAuthorization: Bearer other",
}


@pytest.mark.parametrize("model", MODELS)
async def test_nothing_of_the_environment_reaches_another_provider(wire, monkeypatch, model):
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)
    text, end = await streamed(hub_of(wire), request_of(wire, model))
    assert (text, end.end_state) == (TEXT, "complete")
    [served] = wire.log
    assert "x-gateway" not in served.headers
    of_openai = {"openai-organization", "openai-project"}
    assert served.headers & of_openai == (of_openai if model == "gpt-6-luna" else set())
