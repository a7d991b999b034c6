"""Asking over real HTTP, with every fault that a server can have, judged by what the server received."""

import asyncio
import logging
import sqlite3
import sys
import threading
import time

import pytest
import servers
from servers import stand_in

from filters import FilterError
from filters._endpoint import MAX_FAILURES_IN_A_ROW, Endpoint, Question
from filters._reply_cache import ReplyCache, cache_file

KEY = "sk-canary-0123456789"


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.02)
    with stand_in() as running:
        running.answer = lambda body: body["messages"][0]["content"].upper()
        yield running


def endpoint(server, **settings):
    given = {"base_url": server.url, "model": "stand-in", "api_key_env": "OPENAI_API_KEY", "timeout_s": 20.0}
    return Endpoint(**given | {"retries": 2, "concurrency": 8} | settings)


def chat(text, **fields):
    return {"messages": [{"role": "user", "content": text}], **fields}


def content(reply):
    return str(reply["choices"][0]["message"]["content"] + "")


def ask(server, *texts, **settings):
    questions = [Question(chat(text)) for text in texts]
    return endpoint(server, **settings).ask("chat/completions", questions, content)


def test_replies_come_in_order_and_equal_questions_are_asked_once(server):
    texts = [f"q{n % 7}" for n in range(40)]
    assert [reply.value for reply in ask(server, *texts)] == [text.upper() for text in texts]
    assert len(server.posts()) == 7


def test_votes_are_asked_apart_and_raising_their_number_asks_only_the_new_ones(server):
    for votes in (2, 3):
        endpoint(server).ask("chat/completions", [Question(chat("q"), nth) for nth in range(votes)], content)
        assert len(server.posts()) == votes


def test_requests_in_flight_are_bounded(server):
    server.delay_s = 0.02
    ask(server, *map(str, range(30)), concurrency=3)
    assert 2 <= server.most_in_flight <= 3


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        (servers.status(429), 2),
        (servers.status(429, **{"Retry-After": "0.3"}), 2),
        (servers.status(500), 2),
        (servers.drop, 2),
    ],
    ids=["429", "429 with Retry-After", "500", "dropped mid-body"],
)
def test_a_passing_fault_is_retried(server, fault, tries):
    server.faults.append(fault)
    assert ask(server, "q")[0].value == "Q"
    assert len(server.posts()) == tries


def test_retry_after_is_waited_for(server):
    server.faults.append(servers.status(429, **{"Retry-After": "0.4"}))
    ask(server, "q")
    first, second = (post.time for post in server.posts())
    assert second - first >= 0.4


def test_a_burst_of_503_is_outlived(server):
    server.faults.extend([servers.status(503)] * 8)
    assert [reply.failure for reply in ask(server, *"abcdef", retries=9)] == [None] * 6


@pytest.mark.parametrize(
    ("fault", "tries", "failure"),
    [
        (servers.status(500, "boom"), 3, "HTTP 500 boom"),
        (servers.status(400, "too long"), 1, "HTTP 400 too long"),
        (lambda handler: handler.reply(404, {"detail": "Not Found"}), 1, "HTTP 404 no such route"),
        (servers.status(302, Location="http://127.0.0.1:9/"), 1, "HTTP 302"),
        (servers.drop, 3, "no connection"),
        (servers.raw(b"<html>", "text/html"), 1, "not what was asked for"),
        (servers.raw(b"{oops"), 1, "not JSON"),
        (servers.raw(b'{"choices": []}'), 1, "not what was asked for"),
        (servers.raw(b'{"choices": [{"message": {"content": null}}]}'), 1, "not what was asked for"),
        (servers.raw(b"[]"), 1, "not what was asked for"),
    ],
    ids=["500", "400", "404", "redirect", "dropped", "HTML", "broken JSON", "no choices", "null content", "a list"],
)
def test_a_lasting_fault_is_a_failure_that_is_not_remembered(server, fault, tries, failure):
    server.always = fault
    [reply] = ask(server, "q")
    assert failure in reply.failure
    assert len(server.posts()) == tries
    server.always = None
    assert ask(server, "q")[0].value == "Q"


def test_silence_ends_at_the_time_out(server):
    server.always = servers.hang(6)
    start = time.monotonic()
    [reply] = ask(server, "q", timeout_s=0.2, retries=1)
    assert reply.failure == "no answer within 0.2 s"
    assert time.monotonic() - start < 5
    assert len(server.posts()) == 2


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_is_tried_once_by_each_connection_and_no_more(server, status):
    server.always = servers.status(status, "Incorrect API key provided")
    replies = ask(server, *map(str, range(200)), concurrency=4)
    assert len(server.posts()) <= 4
    assert all(f"HTTP {status} Incorrect API key provided" in reply.failure for reply in replies)


def test_a_server_that_is_gone_is_given_up(server):
    server.always = servers.status(500)
    replies = ask(server, *map(str, range(300)), retries=0, concurrency=4)
    assert len(server.posts()) <= MAX_FAILURES_IN_A_ROW + 4
    assert replies[-1].failure == "not asked any more, after: HTTP 500 no"
    with stand_in() as closed:
        pass
    replies = ask(closed, *map(str, range(300)), retries=0)
    assert all("no connection" in reply.failure for reply in replies)


def test_failures_here_and_there_end_nothing(server):
    server.faults.extend([servers.status(400), None] * 60)
    replies = ask(server, *map(str, range(120)), concurrency=1)
    assert [reply.failure is None for reply in replies] == [False, True] * 60


def test_the_only_model_is_found_and_several_are_refused(server):
    assert ask(server, "q", model="")[0].value == "Q"
    assert server.posts()[0].body["model"] == "stand-in"
    server.models = ["base", "adapter"]
    with pytest.raises(FilterError, match=r"lists 2 models \(base, adapter\): name one by the parameter model"):
        ask(server, "r", model="")
    server.models = ["base"]
    server.always = servers.status(500)
    assert ask(server, "r", model="", retries=0)[0].failure == "HTTP 500 no"


def test_paths_belong_to_the_api_or_to_the_server(server):
    endpoint(server).ask("/score", [Question({"text_2": "a b"})], lambda reply: reply["data"])
    endpoint(server, base_url=server.url + "/").ask("chat/completions", [Question(chat("q"))], content)
    assert [post.path for post in server.posts()] == ["/score", "/v1/chat/completions"]


def test_the_address_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert ask(server, "q", base_url=None)[0].value == "Q"
    monkeypatch.setenv("OPENAI_BASE_URL", "file:///etc/passwd")
    with pytest.raises(FilterError, match="expected http"):
        ask(server, "q", base_url=None)


# ------------------------------------------------------------------------------------------------------ keys


def test_the_key_goes_to_the_server_and_nowhere_else(server, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("THEIR_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other-key")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-key")
    server.faults.extend([None, servers.status(401, f"wrong key: {KEY}")])
    replies = ask(server, "one", "two", api_key_env="THEIR_API_KEY", concurrency=1)
    assert [post.headers["authorization"] for post in server.posts()] == [f"Bearer {KEY}"] * 2
    assert replies[1].failure == "HTTP 401 wrong key: ***"
    sent = "".join(str(post.headers) for post in server.posts())
    assert "other" not in sent
    assert "admin" not in sent
    written = caplog.text + "".join(capfd.readouterr()) + cache_file().read_bytes().decode(errors="replace")
    assert KEY not in written
    assert "one" not in cache_file().read_bytes().decode(errors="replace"), "what was asked is not kept either"


def test_without_a_key_none_is_sent(server, monkeypatch):
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-key")
    ask(server, "q")
    assert server.posts()[0].headers["authorization"] == "Bearer none"


def test_a_variable_that_holds_no_key_is_named_and_not_shown(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-cänary")
    with pytest.raises(FilterError, match="OPENAI_API_KEY holds no key") as raised:
        ask(server, "q")
    assert "nary" not in str(raised.value)


def test_the_same_replies_serve_whoever_has_the_key(server, monkeypatch):
    ask(server, "q")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask(server, "q")
    assert len(server.posts()) == 1


# ----------------------------------------------------------------------------------------------------- cache


@pytest.mark.parametrize("changed", ["model", "temperature", "url"])
def test_the_cache_answers_the_same_request_only(server, changed):
    server.models = ["stand-in", "other"]
    ask(server, "q")
    assert ask(server, "q")[0].value == "Q"
    assert len(server.posts()) == 1
    if changed == "model":
        ask(server, "q", model="other")
    elif changed == "temperature":
        endpoint(server).ask("chat/completions", [Question(chat("q", temperature=1.0))], content)
    else:
        ask(server, "q", base_url=server.url.replace("127.0.0.1", "localhost"))
    assert len(server.posts()) == 2


def test_replies_are_kept_as_they_come(server):
    def until_the_machine_stops(reply):
        if content(reply) == "LAST":
            raise KeyboardInterrupt
        return content(reply)

    questions = [Question(chat(text)) for text in ("first", "last")]
    with pytest.raises(KeyboardInterrupt):
        endpoint(server, concurrency=1).ask("chat/completions", questions, until_the_machine_stops)
    assert ask(server, "first")[0].value == "FIRST"
    assert len(server.posts()) == 2


def test_threads_share_a_cache_file(server):
    failures = []

    def use(number):
        try:
            with ReplyCache() as cache:
                for n in range(20):
                    cache.write(f"{n}", n)
                    cache.write(f"{number}/{n}", [n])
                assert cache.read(["3", f"{number}/4", "none"]) == {"3": 3, f"{number}/4": [4]}
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert cache_file().stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["text", "value", "folder"])
def test_a_cache_that_cannot_be_used_is_named(server, damage):
    ask(server, "q")
    if damage == "text":
        cache_file().write_text("not a database, but long enough to be looked at as one" * 40)
    elif damage == "value":
        database = sqlite3.connect(cache_file())
        database.execute("UPDATE replies SET value = '{'")
        database.commit()
        database.close()
    else:
        cache_file().unlink()
        cache_file().mkdir()
    with pytest.raises(FilterError, match=r"replies\.sqlite cannot be used as the cache of replies: .* DISTILL_CACHE"):
        ask(server, "q")


def test_an_end_in_the_middle_ends_the_asking(server):
    server.delay_s = 0.05

    def interrupted(reply):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        endpoint(server, concurrency=2).ask(
            "chat/completions", [Question(chat(str(n))) for n in range(99)], interrupted
        )
    assert len(server.posts()) <= 6


# ---------------------------------------------------------------------------------------------------- places


def test_it_works_inside_a_running_event_loop_and_in_any_thread(server):
    async def notebook():
        return ask(server, "loop")

    assert asyncio.run(notebook())[0].value == "LOOP"
    found = []
    thread = threading.Thread(target=lambda: found.extend(ask(server, "thread")))
    thread.start()
    thread.join()
    assert found[0].value == "THREAD"


def test_no_questions_no_server():
    assert Endpoint("http://127.0.0.1:9/v1", "", "OPENAI_API_KEY", 1.0, 0, 1).ask("x", [], content) == []


def test_readiness_is_asked_for_past_the_cache(server):
    ask(server, "q")
    endpoint(server).check_ready("chat/completions", Question(chat("q")), content)
    assert len(server.posts()) == 2
    server.always = servers.status(401, "who are you")
    with pytest.raises(FilterError, match=r"chat/completions does not answer: HTTP 401 who are you\. Start the server"):
        endpoint(server).check_ready("chat/completions", Question(chat("q")), content)


def test_a_missing_client_is_named_with_its_cure(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(FilterError, match=r"pip install 'distill\[judge\]'"):
        endpoint(server).check_ready("chat/completions", Question(chat("q")), content)
