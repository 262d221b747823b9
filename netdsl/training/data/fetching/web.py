"""HTTP with distrust: answers that begin in time, bodies that do not trickle, redirects that stay on the web.

The opener has no handler but those of http and https, so that no address, and no redirect, reads a file. Proxies are
taken from the environment, as urllib does. A redirect from https to http is followed: every file has a SHA-256 that it
must come to, whoever sends it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPMessage,
    HTTPResponse,
    HTTPSConnection,
    IncompleteRead,
    InvalidURL,
)
from threading import Timer
from typing import IO, Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from netdsl.ground.diagnostics import plain

CHUNK = 2**16  # bytes read at once
LEAST_SPEED = 1000  # bytes a second; a server that sends less for the time of a timeout is given up
MOST_REDIRECTS = 5
GIVEN_UP = {400, 401, 403, 404, 405, 406, 410, 414, 451}  # answers that do not change when asked again
RANGE_REFUSED = 416
NO_ADDRESS = "it is no address of http or https"


@dataclass(frozen=True)
class Patience:
    """How long a connection and each answer may take, in seconds, how often a mirror is asked, and how long it is left
    alone before the second time, twice as long before the third."""

    timeout: float = 30.0
    tries: int = 3
    pause: float = 1.0


class Refused(Exception):
    """Why a mirror did not serve a file. is_final: to ask it again is of no use. was_range: it may serve it from its
    beginning."""

    def __init__(self, reason: str, is_final: bool = False, was_range: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.is_final, self.was_range = reason, is_final, was_range


class _Response(HTTPResponse):
    """An answer whose head is there within the timeout, however slowly its letters come."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.watched, self.is_cut = sock, False

    def begin(self) -> None:
        """Reads the head. Raises TimeoutError where that takes too long."""
        seconds = self.watched.gettimeout()
        assert seconds is not None, "every address is opened with a timeout"
        watch = Timer(seconds, self._cut)
        watch.daemon = True
        watch.start()
        try:
            super().begin()
        except (OSError, HTTPException):
            if not self.is_cut:
                raise
        finally:
            watch.cancel()
        if self.is_cut:  # half a head may have been taken for a whole one
            raise TimeoutError

    def _cut(self) -> None:
        self.is_cut = True
        with suppress(OSError):  # it is closed already
            # the plain function: an SSLSocket's own forgets its state, which the reading thread still uses
            socket.socket.shutdown(self.watched, socket.SHUT_RDWR)


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Plain(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _Secure(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to http and https; closes the answer where it does not."""

    max_redirections = MOST_REDIRECTS

    def http_error_302(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        try:
            return cast("HTTPResponse | None", super().http_error_302(req, fp, code, msg, headers))
        except (ValueError, Refused):
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise Refused("it redirects to what is not on the web", is_final=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    opener = OpenerDirector()
    for handler in (ProxyHandler, _Plain, _Secure, HTTPDefaultErrorHandler, _Redirects, HTTPErrorProcessor):
        opener.add_handler(handler())
    return opener


def ask(url: str, begin: int, patience: Patience) -> HTTPResponse:
    """The answer of a server that is asked for a file from byte `begin` on; its head has been read. Raises Refused."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise Refused(NO_ADDRESS, is_final=True)
    headers = {"User-Agent": "netdsl", "Accept-Encoding": "identity", "Connection": "close"}
    headers |= {"Range": f"bytes={begin}-"} if begin else {}
    try:
        answer = _opener().open(Request(url, headers=headers), timeout=patience.timeout)
    except HTTPError as error:
        with error:
            raise _of_status(error) from None
    except InvalidURL:
        raise Refused(NO_ADDRESS, is_final=True) from None
    except (OSError, HTTPException, ValueError) as error:
        raise Refused(_in_words(error, patience)) from None
    if not isinstance(answer, HTTPResponse):  # no handler took the address
        raise Refused("it redirects to what is not on the web", is_final=True)
    return answer


def _of_status(error: HTTPError) -> Refused:
    if 300 <= error.code < 400:
        is_circle = "infinite loop" in str(error.reason)
        where = "in a circle, or too often" if is_circle else "to what is not on the web"
        return Refused(f"it redirects {where}", is_final=True)
    return Refused(f"it answers {error.code}", error.code in GIVEN_UP, error.code == RANGE_REFUSED)


def chunks(answer: HTTPResponse, patience: Patience) -> Iterator[bytes]:
    """The body, as it comes. Raises Refused where it stops or trickles."""
    began, got = time.monotonic(), 0
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except (OSError, HTTPException, ValueError) as error:
            raise Refused(_in_words(error, patience)) from None
        if not chunk:
            return
        yield chunk
        got += len(chunk)
        seconds = time.monotonic() - began
        if seconds >= patience.timeout:
            if got < LEAST_SPEED * seconds:
                raise Refused(f"it sends {got / seconds:.0f} bytes a second")
            began, got = time.monotonic(), 0


def _in_words(error: BaseException, patience: Patience) -> str:
    """What went wrong on the way, in words."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"no answer within {patience.timeout:g} s"
    if isinstance(error, ConnectionError | IncompleteRead):
        return f"the connection broke off ({type(error).__name__})"
    if isinstance(error, HTTPException):
        return f"it answers in no HTTP ({type(error).__name__})"
    text = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return plain(f"{text[:1].lower()}{text[1:200]}")
