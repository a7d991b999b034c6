"""The server engine over real HTTP: every fault has one outcome, and none loses or repeats a request."""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from itertools import islice

import polars as pl
import pytest

from distill.chat import split_completion
from distill.engines import Completion, EngineError, Request, open_engine
from distill.engines._reply import read_reply
from distill.engines.server import ServerEngine
from distill.progress import Silent
from distill.recipe.trajectories import Generation
from distill.sampler import sample
from tests.servers import drop, hang, raw, stand_in, status

KEY = "sk-canary-4711"
ANSWER = "<think>\nBecause.\n</think>\n\n\\boxed{2}"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def server():
    with stand_in() as running:
        running.answer = lambda body: ANSWER
        yield running


def engine(*urls, model="stand-in", **args):
    return ServerEngine(model, revision=None, args={"base_urls": list(urls), "timeout_s": 5, "retries": 3} | args)


def ask(count, **fields):
    for n in range(count):
        yield Request(f"p#{n}", ({"role": "user", "content": "1 + 1?"},), 100, seed=n, **fields)


def finish_reasons(opened, count=1):
    with opened:
        return [completion.finish_reason for completion in opened.complete(ask(count))]


# ----------------------------------------------------------------------------------------------------- single requests


def chat(message, finish_reason="stop", **reply):
    return {"choices": [{"message": message, "finish_reason": finish_reason}]} | reply


@pytest.mark.parametrize(
    ("reply", "text", "finish"),
    [
        (chat({"content": ANSWER}), ANSWER, "stop"),
        (chat({"reasoning": "Why", "content": "2"}), "<think>\nWhy\n</think>\n\n2", "stop"),
        (chat({"reasoning_content": "Why", "content": "2"}), "<think>\nWhy\n</think>\n\n2", "stop"),
        (chat({"reasoning": "Why no", "content": None}, "length"), "<think>\nWhy no", "length"),
        (chat({"content": "Why</think>2"}), "<think>\nWhy</think>2", "stop"),
        (chat({"content": "2"}), "2", "stop"),
        (chat({"content": ""}), "", "stop"),
        (chat({"content": None}), "", "failed:no_text"),
        (chat({"content": [{"type": "text"}]}), "", "failed:no_text"),
        (chat({"content": "2"}, "content_filter"), "2", "failed:content_filter"),
        (chat({"content": "2"}, "no\nword"), "2", "failed:no_finish_reason"),
    ],
)
def test_a_reply_becomes_the_text_that_the_model_wrote(reply, text, finish):
    request = next(ask(1))
    assert read_reply(request, reply) == Completion("p#0", text, finish, 0, 0)
    if "reasoning" in str(reply) and finish == "stop":
        assert split_completion(text) == ("Why", "2")


@pytest.mark.parametrize(
    ("usage", "counted"),
    [({"prompt_tokens": 3, "completion_tokens": 5}, (3, 5)), (None, (0, 0)), ({"prompt_tokens": -1}, (0, 0))],
)
def test_tokens_are_counted_by_the_server_or_are_0(usage, counted):
    completion = read_reply(next(ask(1)), chat({"content": "2"}, usage=usage))
    assert (completion.prompt_tokens, completion.completion_tokens) == counted


def test_the_opening_tag_is_not_added_when_the_request_says_so():
    assert read_reply(next(ask(1, open_think=False)), chat({"content": "Why</think>2"})).text == "Why</think>2"


def test_a_request_carries_what_the_recipe_says(server):
    opened = engine(server.url, extra_body={"top_k": 20})
    with opened:
        [completion] = opened.complete(ask(1))
    assert (completion.text, completion.completion_tokens) == (ANSWER, 1)
    [seen] = server.posts()
    assert seen.body == {
        "model": "stand-in",
        "messages": [{"role": "user", "content": "1 + 1?"}],
        "temperature": 0.6,
        "top_p": 0.95,
        "max_tokens": 100,
        "seed": 0,
        "top_k": 20,
    }
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["host"] in server.url
    assert KEY not in str(opened.identity)
    assert server.url not in str(opened.identity)


# --------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("faults", "finish", "posts"),
    [
        ([status(429, **{"Retry-After": "0.3"})], "stop", 2),
        ([status(429)], "stop", 2),
        ([status(500)] * 2, "stop", 3),
        ([status(503)] * 3, "stop", 4),
        ([hang(0.4)], "stop", 2),
        ([drop], "stop", 2),
        ([raw(b'{"choices": []}')], "stop", 2),
        ([raw(b"<html>", "text/html")], "stop", 2),
        ([raw(b'{"choices": [7]}')], "stop", 2),
        ([status(400)], "failed:http_400", 1),
    ],
)
def test_a_passing_fault_costs_a_retry(server, faults, finish, posts):
    server.faults.extend(faults)
    assert finish_reasons(engine(server.url, timeout_s=0.2)) == [finish]
    assert len(server.posts()) == posts
    assert len({str(seen.body) for seen in server.posts()}) == 1, "the same request with the same seed"


@pytest.mark.parametrize(
    ("fault", "finish"),
    [
        (status(500), "failed:http_500"),
        (hang(0.2), "failed:timeout"),
        (drop, "failed:connection"),
        (raw(b'{"choices": []}'), "failed:empty_choices"),
        (raw(b"[1,"), "failed:not_json"),
        (raw(b'{"choices": [7]}'), "failed:no_message"),
    ],
)
def test_a_lasting_fault_is_a_failed_completion(server, fault, finish):
    server.faults.append(fault)
    assert finish_reasons(engine(server.url, timeout_s=0.1, retries=0)) == [finish]


def test_retry_after_is_waited_for_by_all_requests(server):
    server.faults.append(status(429, **{"Retry-After": "1"}))
    began = time.monotonic()
    assert finish_reasons(engine(server.url, concurrency=1), 3) == ["stop"] * 3
    first, *later = (seen.time for seen in server.posts())
    assert first - began < 0.8
    assert all(at - first >= 1 for at in later)


@pytest.mark.parametrize(
    ("code", "cure"), [(400, "max_tokens"), (401, "valid key"), (403, "may ask"), (404, "base_urls"), (418, "log")]
)
def test_what_fails_for_ever_is_not_asked_for_ever(server, code, cure):
    server.faults.extend([None] * 3 + [status(code, f"{KEY} is no good")] * 1000)
    opened = engine(server.url, concurrency=4)
    done = []

    def source():
        requests = ask(1000)
        yield from islice(requests, 3)
        while len(done) < 3:  # a good answer that came in after a failure would begin the count again
            yield None
        yield from requests

    def collect():
        for completion in opened.complete(source()):
            done.append(completion)

    with opened, pytest.raises(EngineError, match=cure) as raised:
        collect()
    assert [completion.finish_reason for completion in done[:3]] == ["stop"] * 3
    assert 3 + 20 <= len(server.posts()) <= 3 + 20 + 3
    assert KEY not in str(raised.value)
    assert "*** is no good" in str(raised.value)


# ------------------------------------------------------------------------------------------------- servers come and go


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"models": ["other"]}, "does not serve 'stand-in'; it lists 'other'"),
        ({"always": status(401)}, "api_key_env"),
        ({"always": status(404)}, "/v1"),
    ],
)
def test_a_server_that_cannot_serve_is_refused_before_anything_is_asked(server, change, cure):
    for name, value in change.items():
        setattr(server, name, value)
    with engine(server.url) as opened, pytest.raises(EngineError, match=cure):
        list(opened.complete(ask(3)))
    assert server.posts() == []


def test_no_server_at_all_is_said_at_once():
    began = time.monotonic()
    with engine("http://127.0.0.1:9/v1") as opened, pytest.raises(EngineError, match="no server answers at http"):
        list(opened.complete(ask(3)))
    assert time.monotonic() - began < 2


PROCESS = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        models = {"data": [{"id": "stand-in", "root": sys.argv[2]}], "version": "0.32"}
        self.reply(200 if self.path in ("/v1/models", "/version") else 404, models)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(0.02)
        text = f"<think>{body['seed']}</think>{sys.argv[2]}"
        self.reply(200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})

    def reply(self, status, content):
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_): pass

ThreadingHTTPServer.allow_reuse_address = True
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
"""


@contextmanager
def process(port, root="weights"):
    """A server in a process of its own, killed at the end."""
    with subprocess.Popen([sys.executable, "-c", PROCESS, str(port), root], stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout.readline() == b"ready\n"
            yield running
        finally:
            running.kill()


def collect(opened, completions, *, after, then):
    """Ask 60 requests, and do something when some have finished."""
    for completion in opened.complete(ask(60)):
        completions.append(completion)
        if len(completions) == after:
            then()


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_killed_server_is_waited_for_and_every_request_answered_once(port):
    completions = []
    with ExitStack() as stack, engine(f"http://127.0.0.1:{port}/v1", concurrency=8) as opened:
        running = stack.enter_context(process(port))

        def restart():
            running.kill()
            running.wait()
            threading.Timer(0.5, lambda: stack.enter_context(process(port))).start()

        collect(opened, completions, after=20, then=restart)
    assert opened.identity["engine_version"] == "0.32"
    assert {c.finish_reason for c in completions} == {"stop"}
    assert sorted((c.request_id, c.text) for c in completions) == sorted(
        (f"p#{n}", f"<think>{n}</think>weights") for n in range(60)
    )


def test_another_model_under_the_same_name_is_refused(port):
    completions = []
    with ExitStack() as stack, engine(f"http://127.0.0.1:{port}/v1", concurrency=4) as opened:
        running = stack.enter_context(process(port))

        def swap():
            running.kill()
            running.wait()
            stack.enter_context(process(port, root="other weights"))

        with pytest.raises(EngineError, match="serves another model under the name 'stand-in'"):
            collect(opened, completions, after=8, then=swap)
    assert len(completions) >= 8
    assert {c.text.partition("</think>")[2] for c in completions} == {"weights"}


def test_a_server_that_stays_away_stops_the_run(port):
    completions = []
    with (
        engine(f"http://127.0.0.1:{port}/v1", concurrency=2, wait_s=0.5) as opened,
        process(port) as running,
        pytest.raises(EngineError, match="no server answers"),
    ):
        collect(opened, completions, after=2, then=running.kill)
    assert {c.finish_reason for c in completions} == {"stop"}


def test_the_requests_of_a_dead_server_go_to_the_others(server, port):
    server.delay_s = 0.02
    completions = []
    with engine(f"http://127.0.0.1:{port}/v1", server.url, concurrency=4) as opened, process(port) as running:
        collect(opened, completions, after=20, then=running.kill)
    assert [completion.finish_reason for completion in completions] == ["stop"] * 60
    by_the_other = sum(completion.text == ANSWER for completion in completions[:20])
    assert 0 < by_the_other < 20, "both are asked while both are there"
    assert {completion.text for completion in completions[40:]} == {ANSWER}


# ---------------------------------------------------------------------------------------------------------- concurrency


def test_as_many_requests_are_in_flight_as_allowed_and_are_pulled_lazily(server):
    server.delay_s = 0.02
    pulled = []
    requests = (pulled.append(request) or request for request in ask(60))
    with engine(server.url, concurrency=8) as opened:
        for answered, _ in enumerate(opened.complete(requests)):
            assert len(pulled) - answered <= 8
    assert 6 <= server.most_in_flight <= 8


def test_a_busy_server_gets_half_and_then_slowly_more(server):
    server.delay_s = 0.1
    server.faults.extend([status(429)] * 8)
    with engine(server.url, concurrency=8) as opened:
        places = []
        for _ in opened.complete(ask(60)):
            places.append(opened._servers.places)
    assert places[0] == 4, "eight refusals of one burst are one halving"
    assert places == sorted(places)
    assert places[-1] == 8


def test_nothing_more_is_pulled_after_none_until_something_has_finished(server):
    pulled = []

    def source():
        for request in ask(4):
            pulled.append(request)
            yield request
            yield None

    with engine(server.url) as opened:
        for answered, _ in enumerate(opened.complete(source())):
            assert len(pulled) == answered + 1
    assert len(pulled) == 4


def test_closing_does_not_wait_for_what_is_in_flight(server):
    server.faults.extend([None, hang(3), hang(3)])
    opened = engine(server.url, concurrency=3)
    completions = opened.complete(ask(3))
    next(completions)
    began = time.monotonic()
    opened.close()
    opened.close()
    with pytest.raises(EngineError, match="closed while requests were in flight"):
        next(completions)
    assert time.monotonic() - began < 1
    server.faults.clear()
    assert finish_reasons(opened, 2) == ["stop"] * 2


# ------------------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"base_url": "x"}, "did you mean 'base_urls'"),
        ({"base_urls": []}, "base_urls: "),
        ({"base_urls": ["http://me:hunter2@host/v1"]}, "without user name"),
        ({"api_key_env": "hunter2"}, "api_key_env: expected the name"),
        ({"concurrency": 0}, "concurrency: .*greater"),
        ({"retries": "hunter2"}, "retries: .*integer"),
        ({"extra_body": {"seed": 1}}, "extra_body: seed follow"),
    ],
)
def test_wrong_arguments_are_errors_that_repeat_no_secret(args, message):
    with pytest.raises(EngineError, match=message) as raised:
        open_engine("server", "stand-in", revision=None, args=args, say=lambda line: None)
    assert "hunter2" not in str(raised.value)


# ----------------------------------------------------------------------------------------------------- with the sampler


def test_the_sampler_asks_failed_rows_again_and_nothing_else(server, tmp_path):
    problems = pl.DataFrame({"problem_id": ["a", "b", "c"], "problem": ["1 + 1?", "2 + 2?", "3 + 3?"]})
    settings = Generation(samples_per_problem=2, engine="server")

    def draw():
        with engine(server.url, concurrency=2, retries=0) as opened:
            return sample(opened, problems, settings, tmp_path, name="t", progress=Silent())

    server.faults.extend([None, status(500), None, drop])
    first = draw()
    failed = first.filter(pl.col("finish_reason") != "stop")
    assert sorted(failed["finish_reason"]) == ["failed:connection", "failed:http_500"]
    asked = len(server.posts())
    second = draw()
    assert (second["finish_reason"] == "stop").all()
    again = [seen.body["seed"] for seen in server.posts()[asked:]]
    assert len(again) == 2
    assert set(again) <= {seen.body["seed"] for seen in server.posts()[:asked]}
    server.always = status(401)
    assert draw().equals(second), "a run that is complete needs no server"
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("prefix", "message", "text"),
    [
        ("<think>\nOne", {"content": " two</think>2"}, "<think>\nOne two</think>2"),
        ("<think>\nOne", {"reasoning": " two", "content": "2"}, "<think>\nOne two\n</think>\n\n2"),
        ("<think>\nOne</think>", {"content": " 2"}, "<think>\nOne</think> 2"),
    ],
)
def test_a_reply_to_a_prefix_is_the_text_from_its_beginning(prefix, message, text):
    request = Request("p", ({"role": "user", "content": "?"},), 9, prefix=prefix)
    assert read_reply(request, chat(message)).text == text


def test_a_server_that_does_not_continue_a_text_is_refused(server):
    with engine(server.url) as opened, pytest.raises(EngineError, match="does not continue a text that was cut"):
        opened.check_continues()
    assert server.posts()[-1].body["continue_final_message"] is True


# ----------------------------------------------------------------------------------------------------------- streaming


def events(*chunks):
    lines = [json.dumps(chunk) for chunk in chunks]
    return raw("".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode(), "text/event-stream")


def piece(finish_reason=None, **delta):
    return {"choices": [{"delta": delta, "finish_reason": finish_reason}]}


WRITTEN = events(
    piece(reasoning="Why"), piece(reasoning_content=" not"), piece(content="2"), piece("stop", content=".")
)
LONG = events(*[piece(content=f" {n}") for n in range(100)], piece("stop"))


@pytest.mark.parametrize(
    ("faults", "text", "finish", "tokens", "posts"),
    [
        ([WRITTEN], "<think>\nWhy not\n</think>\n\n2.", "stop", 4, 1),
        ([events(piece("stop", content="2"), {"choices": [], "usage": {"completion_tokens": 7}})], "2", "stop", 7, 1),
        ([status(400, "no continuous_usage_stats"), WRITTEN], "<think>\nWhy not\n</think>\n\n2.", "stop", 4, 2),
        ([drop, status(503), WRITTEN], "<think>\nWhy not\n</think>\n\n2.", "stop", 4, 3),
        ([events(piece(content="2"))], "2", "failed:no_finish_reason", 1, 1),
        ([status(400)] * 2, "", "failed:http_400", 0, 2),
        ([LONG], "".join(f" {n}" for n in range(64)), "aborted:loop", 64, 1),
    ],
)
def test_a_reply_that_is_streamed_is_read_as_a_whole_one_and_ended_where_it_is_doomed(
    server, faults, text, finish, tokens, posts
):
    server.faults.extend(faults)
    with engine(server.url) as opened:
        [completion] = opened.complete(ask(1), lambda shown: ["loop"] * len(shown))
    assert completion == Completion("p#0", text, finish, 0, tokens)
    assert len(server.posts()) == posts
