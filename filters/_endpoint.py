"""Asking a server that speaks OpenAI's protocol: many questions at once, and none whose answer is known.

The retries are the openai client's own (jittered, by Retry-After). A question that gets no usable answer is a failure
with its cause, never an exception: whoever asked abstains. Threads and the synchronous client work wherever a filter
may be called: in any thread, and inside a running asyncio loop.

The API key is read from an environment variable when asking. It is in no parameter, cache, error or log. Nothing here
knows what is asked, or samples trajectories.
"""

import os
import re
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel

from filters._reply_cache import ReplyCache, key_of
from filters._verdict import FilterError

if TYPE_CHECKING:
    from openai import OpenAI

DEFAULT_URL = "http://127.0.0.1:8000/v1"
"""Where vLLM serves on this machine."""
MAX_FAILURES_IN_A_ROW = 20
"""After so many the rest of a batch is not asked: the server is gone, and each try costs retries and their waiting."""
FINAL_STATUS = (401, 403, 404)
"""The key, the model or the route is wrong, for every further question as well."""
FAILURE_CHARS = 250

Read = Callable[[Any], Any]
"""Takes what was asked for out of a reply's JSON, as a value that JSON can hold; raises where it is not there."""


def _checked_url(url: str | None) -> str | None:
    # FilterError keeps the value out of the message: it may hold a password.
    if url is not None and not re.match(r"https?://[^/@\s?#]+(/[^@\s?#]*)?$", url):
        raise FilterError("base_url: expected http:// or https://, a host and a path, without user name or query")
    return url


def _checked_name(name: str) -> str:
    # Somebody may paste the key itself here, and a stranger's recipe may name another secret than a key of an API.
    if not re.fullmatch(r"(?:[A-Z][A-Z0-9_]*_)?API_KEY(?:_[A-Z0-9_]+)?", name):
        raise FilterError("api_key_env: expected the name of an environment variable such as OPENAI_API_KEY, not a key")
    return name


BaseUrl = Annotated[str | None, AfterValidator(_checked_url)]
KeyVariable = Annotated[str, AfterValidator(_checked_name)]


@dataclass(frozen=True)
class Question:
    """One request, less the model's name. Equal questions are asked once, whatever the number of rows behind them."""

    body: dict[str, Any]
    nth: int = 0
    """Tells questions apart that are asked more than once on purpose, such as votes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a question: the value that was read, or why there is none."""

    value: Any = None
    failure: str | None = None


@dataclass
class _Patience:
    """How long questions that are asked at the same time go on when others fail."""

    given_up: str | None = None
    failures_in_a_row: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, failure: str | None, *, final: bool = False) -> None:
        with self.lock:
            self.failures_in_a_row = self.failures_in_a_row + 1 if failure else 0
            if failure and (final or self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW):
                self.given_up = f"not asked any more, after: {failure}"


@dataclass(frozen=True)
class Endpoint:
    """A server and how to ask it. Built from a filter's parameters of the same names, which document them."""

    base_url: str | None
    model: str
    api_key_env: str
    timeout_s: float
    retries: int
    concurrency: int

    @classmethod
    def of(cls, filter: BaseModel) -> Self:
        """The endpoint that a filter's parameters describe."""
        return cls(**{name: getattr(filter, name) for name in cls.__dataclass_fields__})

    def ask(self, path: str, questions: Sequence[Question], read: Read) -> list[Reply]:
        """The replies in the order of the questions; those of earlier runs come from the cache.

        Args:
            path: Relative to the base URL (``chat/completions``), or to the server where it begins with a slash, as
                vLLM's own routes do (``/classify``).
            questions: What to ask.
            read: Takes the value out of a reply.

        Raises:
            FilterError: The client is not installed, no model is named and the server has several, or the cache of
                replies cannot be used.
        """
        if not questions:
            return []
        with self._client() as client, ReplyCache() as cache:
            model = self._model(client)
            if model.failure:
                return [model] * len(questions)
            url = self._url(path)
            keys = [key_of(url, q.body | {"model": model.value}, q.nth) for q in questions]
            distinct = dict(zip(keys, questions, strict=True))
            replies = {key: Reply(value) for key, value in cache.read(distinct).items()}
            bodies = {k: q.body | {"model": model.value} for k, q in distinct.items() if k not in replies}
            with closing(self._ask_all(client, url, bodies, read)) as asked:
                for key, reply in asked:
                    replies[key] = reply
                    if reply.failure is None:
                        cache.write(key, reply.value)
        return [replies[key] for key in keys]

    def check_ready(self, path: str, question: Question, read: Read) -> None:
        """Ask one question, past the cache; FilterError if there is no answer that can be read."""
        with self._client() as client, ReplyCache():
            reply = model = self._model(client)
            if model.failure is None:
                reply = self._call(client, _Patience(), self._url(path), question.body | {"model": model.value}, read)
        if reply.failure:
            raise FilterError(
                f"{self._url(path)} does not answer: {reply.failure}. Start the server, or name another by the "
                "parameter base_url or the environment variable OPENAI_BASE_URL"
            )

    def _base(self) -> str:
        url = self.base_url or _checked_url(os.environ.get("OPENAI_BASE_URL") or None) or DEFAULT_URL
        return url.rstrip("/")

    def _url(self, path: str) -> str:
        return self._base().removesuffix("/v1") + path if path.startswith("/") else f"{self._base()}/{path}"

    def _client(self) -> "OpenAI":
        try:
            from openai import DefaultHttpxClient, OpenAI
        except ImportError as error:
            raise FilterError("the openai client is missing: pip install 'distill[judge]'") from error
        return OpenAI(
            base_url=self._base(),
            api_key=key_in(self.api_key_env)
            or "none",  # the client insists on one, and would take another from the environment
            timeout=self.timeout_s,
            max_retries=self.retries,
            http_client=DefaultHttpxClient(follow_redirects=False),  # a redirect could lead anywhere
        )

    def _model(self, client: "OpenAI") -> Reply:
        """The name in the parameters, or that of the only model that the server lists."""
        if self.model:
            return Reply(self.model)
        patience = _Patience()
        listed = self._call(client, patience, self._url("models"), None, lambda reply: [m["id"] for m in reply["data"]])
        if listed.failure is None and len(listed.value) != 1:
            names = ", ".join(map(str, listed.value[:10])) or "none"
            raise FilterError(
                f"{self._base()} lists {len(listed.value)} models ({names}): name one by the parameter model"
            )
        return listed if listed.failure else Reply(str(listed.value[0]))

    def _ask_all(
        self, client: "OpenAI", url: str, bodies: dict[str, dict[str, Any]], read: Read
    ) -> Generator[tuple[str, Reply]]:
        patience = _Patience()
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="distill-endpoint") as pool:
            waiting = {pool.submit(self._call, client, patience, url, body, read): key for key, body in bodies.items()}
            try:
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            finally:  # where it ends early, only what is on its way is still waited for
                pool.shutdown(wait=False, cancel_futures=True)
                client.close()

    def _call(self, client: "OpenAI", patience: _Patience, url: str, body: dict[str, Any] | None, read: Read) -> Reply:
        from openai import APIStatusError, OpenAIError

        if patience.given_up:
            return Reply(failure=patience.given_up)
        status = None
        try:
            got = client.get(url, cast_to=object) if body is None else client.post(url, body=body, cast_to=object)
        except OpenAIError as error:
            status = error.status_code if isinstance(error, APIStatusError) else None
            failure = self._explain(error)
        except ValueError:
            failure = "the reply is not JSON"
        else:
            try:
                value = read(got)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                failure = self._readable(f"the reply is not what was asked for ({error})")
            else:
                patience.note(None)
                return Reply(value)
        patience.note(failure, final=status in FINAL_STATUS)
        return Reply(failure=failure)

    def _explain(self, error: Exception) -> str:
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        if isinstance(error, APITimeoutError):
            return f"no answer within {self.timeout_s:g} s"
        if isinstance(error, APIStatusError):
            said = error.body.get("message") if isinstance(error.body, dict) else None
            said = said or ("no such route" if error.status_code == 404 else "")
            return self._readable(f"HTTP {error.status_code} {said}".strip())
        cause = error.__cause__ if isinstance(error, APIConnectionError) else error
        return self._readable(f"no connection ({cause or error})")

    def _readable(self, text: str) -> str:
        return readable(text, key_in(self.api_key_env))


def key_in(variable: str) -> str:
    """The key that an environment variable holds, empty where it is not set; FilterError where it can be none."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise FilterError(f"the environment variable {variable} holds no key: expected plain characters")
    return key


def readable(text: str, key: str) -> str:
    """What a server says, as one bounded line without the key, which servers like to quote."""
    if key:
        text = text.replace(key, "***")
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * FAILURE_CHARS])
    return " ".join(printable.split())[:FAILURE_CHARS]
