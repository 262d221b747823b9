"""A web server that serves one file wrong in every way there is; the first part of a path says which."""

import contextlib
import gzip
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

BOMB = gzip.compress(bytes(50_000_000), 1)
DRIP = 0.03  # seconds between two bytes of what trickles


class Handler(BaseHTTPRequestHandler):
    """`/fault/case/name`: `case` tells the requests of one test from those of others."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        _, self.fault, case, *_ = urlsplit(self.path).path.split("/")  # a proxy is given the whole address
        with self.server.guard:
            self.server.asked[f"{self.fault}/{case}"] += 1
            self.times = self.server.asked[f"{self.fault}/{case}"]
        with contextlib.suppress(ConnectionError, TimeoutError):
            getattr(self, self.fault)()

    def log_message(self, *_):
        pass

    @property
    def body(self):
        return self.server.body

    @property
    def begin(self):
        """The first byte that is asked for."""
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def head(self, status=200, length=None, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, data, status=200, length=None, **headers):
        self.head(status, len(data) if length is None else length, **headers)
        self.wfile.write(data)

    def piece(self, data):
        """The rest of the file from the byte that is asked for, as HTTP has it."""
        if not self.begin:
            return self.send(data)
        return self.send(data[self.begin :], 206, Content_Range=f"bytes {self.begin}-{len(data) - 1}/{len(data)}")

    # what is right

    def good(self):
        self.piece(self.body)

    def redirects_well(self):
        self.head(302, 0, Location=self.path.replace("redirects_well", "good"))

    def packs_again(self):
        self.send(gzip.compress(self.body), Content_Encoding="gzip")

    def packs_otherwise(self):
        self.send(gzip.compress(gzip.decompress(self.body), 1))

    def says_gzip_of_what_is_a_gz(self):
        self.send(self.body, Content_Encoding="gzip")

    def in_chunks(self):
        self.head(Transfer_Encoding="chunked")
        for start in range(0, len(self.body), 7001):
            piece = self.body[start : start + 7001]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def without_a_length(self):
        self.head()
        self.wfile.write(self.body)

    def sends_more_than_it_promised(self):
        self.send(self.body + b"more", length=len(self.body))

    def ignores_range(self):
        self.send(self.body)

    def fails_once(self):
        self.good() if self.times > 1 else self.send(b"", 503)

    def breaks_off_every_time(self):
        """A little more each time."""
        data = self.body[self.begin : self.begin + len(self.body) // 2 + 1]
        length = len(self.body) - self.begin
        self.head(206 if self.begin else 200, length, Content_Range=f"bytes {self.begin}-{len(self.body) - 1}/*")
        self.wfile.write(data)

    # what is right where nothing was there before

    def lies_of_its_piece(self):
        """The head is right, but the body begins at 0."""
        if not self.begin:
            return self.good()
        data = self.body[: len(self.body) - self.begin]
        return self.send(data, 206, Content_Range=f"bytes {self.begin}-{len(self.body) - 1}/{len(self.body)}")

    # what is wrong

    def not_there(self):
        self.send(b"<html>no</html>", 404)

    def broken(self):
        self.send(b"oh", 500)

    def says_nothing(self):
        pass

    def never_answers(self):
        self.server.stopped.wait(20)

    def stops_in_the_middle(self):
        self.head(length=len(self.body))
        self.wfile.write(self.body[: 2**15])
        self.wfile.flush()
        self.server.stopped.wait(20)

    def trickles(self):
        self.head(length=len(self.body))
        self.drip(self.body)

    def trickles_its_head(self):
        self.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Nothing: nothing\r\n" * 50)

    def drip(self, data):
        for byte in data:
            if self.server.stopped.wait(DRIP):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def resets(self):
        self.head(length=len(self.body))
        self.wfile.write(self.body[:20_000])
        self.wfile.flush()
        time.sleep(0.02)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def wrong_bytes(self):
        self.piece(bytes(len(self.body)))

    def a_page_for_people(self):
        self.send(b"<html>Please log in to this network</html>", Content_Type="text/html")

    def promises_more(self):
        self.send(self.body * 3)

    def never_ends(self):
        self.head()
        while not self.server.stopped.is_set():
            self.wfile.write(bytes(10_000))

    def bomb(self):
        self.send(BOMB, Content_Encoding="gzip")

    def is_short(self):
        self.send(self.body[:-5])

    def redirects_in_a_circle(self):
        self.head(302, 0, Location=self.path)

    def redirects_for_ever(self):
        self.head(302, 0, Location=f"{self.path}x")

    def redirects_to_a_file(self):
        self.head(302, 0, Location=self.server.file.as_uri())

    def redirects_to_ftp(self):
        self.head(301, 0, Location="ftp://127.0.0.1/data.bin.gz")

    def redirects_to_nonsense(self):
        self.head(302, 0, Location="http://[::1/data.bin.gz")

    def sends_another_piece(self):
        begin = self.begin + 7
        data = self.body[begin:]
        self.send(data, 206, Content_Range=f"bytes {begin}-{len(self.body) - 1}/{len(self.body)}")

    def sends_a_piece_unnamed(self):
        self.send(self.body, 206)

    def has_no_pieces(self):
        self.send(b"", 416) if self.begin else self.broken()

    def is_no_http(self):
        self.wfile.write(b"220 welcome to the mail server\r\n")

    def floods_its_head(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-Nothing: nothing\r\n" * 500 + b"\r\n")

    def has_a_long_head(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Nothing: " + b"x" * 200_000 + b"\r\n\r\n")

    def breaks_its_chunks(self):
        self.head(Transfer_Encoding="chunked")
        self.wfile.write(b"ffff\r\n" + self.body[:100] + b"\r\nnonsense\r\n")


RIGHT = [name for name in vars(Handler) if not name.startswith("_")]
RIGHT, WRONG = (
    RIGHT[RIGHT.index("good") : RIGHT.index("not_there")],
    [name for name in RIGHT[RIGHT.index("not_there") :] if name != "drip"],
)
"""What ends with the file, alone, and what does not."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 200

    def handle_error(self, *_):
        """A client that goes away is what most of these tests are about."""


@contextlib.contextmanager
def serving(body, file):
    """A server of these bytes, at `server.address`; file: one of this machine that it redirects to."""
    server = Server(("127.0.0.1", 0), Handler)
    server.body, server.file, server.asked = body, file, Counter()
    server.stopped, server.guard = threading.Event(), threading.Lock()
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
