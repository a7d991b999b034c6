"""The pages of a run on this machine's own address, for the person who was told it: nobody else can read or label.

Whoever asks must know the token, which is in the address that is printed and then in a cookie, and must ask by a name
of this machine: another site's name that was made to lead here (DNS rebinding) is refused. Pages run no script but
ours, load nothing from elsewhere, and are framed by nobody.
"""

import hmac
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distill.shards import JournalError
from distill.store import RunError
from distill.view.pages import PAGE, Viewer
from filters import FilterError

ADDRESS = "127.0.0.1"
MOST_BYTES = 64_000
"""Of a form that is sent."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def serve(folder: Path, *, port: int, token: str, say: Callable[[str], None]) -> None:
    """Serve a run until Ctrl-C; `say` gets the address once it can be asked. Port 0 is any that is free.

    Raises RunError where the run has nothing to show yet or the port is taken.
    """
    viewer = Viewer(folder)
    with listen(port) as listening, suppress(KeyboardInterrupt):
        say(f"http://{ADDRESS}:{listening.getsockname()[1]}/?token={token}")
        server(viewer, listening, token).run(sockets=[listening])


def listen(port: int) -> socket.socket:
    """A socket of this machine alone."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
    except OSError as error:
        listening.close()
        told = f"port {port} of {ADDRESS}: {error.strerror}; take another, or --port 0 for a free one"
        raise RunError(told) from None
    listening.listen()
    return listening


def server(viewer: Viewer, listening: socket.socket, token: str) -> uvicorn.Server:
    """The server of a viewer on a socket."""
    inside = app(viewer, listening.getsockname()[1], token)
    return uvicorn.Server(
        uvicorn.Config(inside, log_level="warning", lifespan="off", access_log=False, server_header=False)
    )


def app(viewer: Viewer, port: int, token: str) -> ASGIApp:
    """The application, behind its door."""

    def page(request: Request) -> Response:
        try:
            return HTMLResponse(viewer.page(request.query_params))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            return PlainTextResponse(f"This address asks for what there is not: {wrong}\n", 400)
        except (RunError, JournalError) as error:
            return PlainTextResponse(f"The run cannot be read any more: {error}\n", 503)

    async def label(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return PlainTextResponse("That is too long.\n", 413)
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        try:
            viewer.label(form)
        except ValidationError as error:
            return PlainTextResponse(f"That is no label: {error.errors()[0]['loc']}\n", 400)
        except (OSError, FilterError) as error:
            return PlainTextResponse(f"The label is not kept: {error}\n", 500)
        back = form.get("back", "/")
        return RedirectResponse(back if back.startswith("/?") else "/", 303)

    def static(request: Request) -> Response:
        return FileResponse(PAGE / request.url.path[1:])

    routes = [Route("/", page), Route("/label", label, methods=["POST"])]
    routes += [Route(f"/{name}", static) for name in ("view.css", "view.js")]
    return Door(Starlette(routes=routes), port, token)


class Door:
    """Lets in who asks this machine by its own name and knows the token, and puts `HEADERS` on every answer."""

    def __init__(self, inside: ASGIApp, port: int, token: str) -> None:
        self.inside, self.token = inside, token
        self.hosts = {f"{name}:{port}" for name in (ADDRESS, "localhost")}
        self.cookie = f"distill-view-{port}"  # browsers do not tell ports apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        if scope["type"] == "http":
            answer = self._at_the_door(Request(scope)) or self.inside
            await answer(scope, receive, send_with_headers)

    def _at_the_door(self, request: Request) -> Response | None:
        """The refusal, the way in for who brings the token, or None for who has been let in."""
        host = request.headers.get("host", "")
        if host not in self.hosts:
            return PlainTextResponse(f"This page is only to be had as {ADDRESS}.\n", 421)
        origin = request.headers.get("origin", f"http://{host}")
        if request.method != "GET" and origin != f"http://{host}":
            return PlainTextResponse("Another page asked for this.\n", 403)
        if self._is_token(request.query_params.get("token")):
            response = RedirectResponse("/", 303)
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="lax")
            return response
        if not self._is_token(request.cookies.get(self.cookie)):
            return PlainTextResponse("Open the whole address that `distill view` printed, with its token.\n", 403)
        return None

    def _is_token(self, said: str | None) -> bool:
        return said is not None and hmac.compare_digest(said.encode(), self.token.encode())
