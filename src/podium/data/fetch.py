"""Images from https URLs, and from nowhere inside this network. Standard library only.

A URL may come from a stranger, and the machine that fetches it may reach what the stranger cannot: its own services, its
neighbours, a cloud's metadata. So a host's name is resolved once, every address it has must be public, and the connection goes to
the address that was checked, never to the name again [OWASP, Server-Side Request Forgery Prevention]. The same holds for every redirect.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit

from podium.errors import DataError

LARGEST = 64 << 20  # bytes
REDIRECTS = 5
FIX = "check the URL, or download the image and give the file"
SAFE = "/%:=&?~#+!$,;'@()*[]"  # what a URL has already is not quoted again

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet: not private, loopback, link-local, multicast or reserved.

    Of an IPv6 address that carries an IPv4 address, such as ::ffff:127.0.0.1, the latter must be public too.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if carried := [each for each in inner if each is not None]:
            return all(is_public(each) for each in carried)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host, as texts."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Fetcher:
    """Fetches files by https.

    Args:
        permits: whether an address may be connected to.
        resolve: from (host, port) to all its addresses.
        context: makes the TLS context, which checks certificates and names.
        largest: bytes of a file at most.
        silence: seconds that the server may say nothing.
        seconds: that all of a file may take, redirects included.
    """

    permits: Callable[[Address], bool] = is_public
    resolve: Callable[[str, int], list[str]] = resolve
    context: Callable[[], ssl.SSLContext] = field(default=ssl.create_default_context)
    largest: int = LARGEST
    silence: float = 10.0
    seconds: float = 60.0

    def __call__(self, url: str) -> bytes:
        """Fetch the bytes of a file; what the server says of its type is not believed, and decoding decides.

        Raises:
            DataError: no https URL, an address that is not public, no answer, too large, or cut short; names the URL.
        """
        here, end = url, time.monotonic() + self.seconds
        try:
            for _ in range(REDIRECTS + 1):
                found = self._once(url, here, end)
                if isinstance(found, bytes):
                    return found
                here = urljoin(here, found)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ssl's and socket's errors are OSErrors
            said = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
            raise DataError(f"{url}: cannot be fetched ({said})", FIX) from None
        raise DataError(f"{url}: redirected more than {REDIRECTS} times", FIX)

    def _once(self, url: str, here: str, end: float) -> bytes | str:
        """Send one request; returns the file, or where it is said to be.

        Args:
            url: as it was given, for messages.
            here: the URL of the request.
            end: when it must be there, on the monotonic clock.
        """
        parts = urlsplit(here)
        host, port = _ascii(parts.hostname or ""), parts.port or 443
        where = "" if here == url else f" (redirected to {here})"
        if parts.scheme.lower() != "https" or not host:
            raise DataError(f"{url}: not an https URL{where}", "give one that begins with https://, or the file itself")
        if parts.username is not None:
            raise DataError(f"{url}: a URL with a name or password in it{where}", FIX)
        addresses = self._checked(url, host, port, where)
        connection = _Checked(host, addresses, port, self.context(), self.silence)
        deadline = threading.Timer(max(0.0, end - time.monotonic()), connection.cut)
        deadline.daemon = True
        deadline.start()
        try:
            path = quote(parts.path or "/", safe=SAFE) + (f"?{quote(parts.query, safe=SAFE)}" if parts.query else "")
            connection.request(
                "GET", path, headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "podium"}
            )
            answer = connection.getresponse()
            if answer.status in (301, 302, 303, 307, 308) and (to := answer.getheader("Location")):
                return to
            if answer.status != 200:
                raise DataError(f"{url}: the server says {answer.status} {answer.reason}{where}", FIX)
            return self._body(url, answer)
        finally:
            deadline.cancel()
            connection.close()
            if time.monotonic() >= end:
                raise DataError(f"{url}: not there after {self.seconds:g} s", FIX)

    def _checked(self, url: str, host: str, port: int, where: str) -> list[str]:
        """The addresses of a host, if all of them are permitted."""
        addresses = self.resolve(host, port)
        for address in addresses:
            if not self.permits(ipaddress.ip_address(address.partition("%")[0])):
                is_it = "" if host == address else f"{host} is "
                what = f"{url}: {is_it}{address}, which is no address of the public internet{where}"
                raise DataError(what, "download the image and give the file")
        if not addresses:
            raise DataError(f"{url}: {host} has no address{where}", FIX)
        return addresses

    def _body(self, url: str, answer: http.client.HTTPResponse) -> bytes:
        """Read what the server sends, up to the limit of size."""
        most = f"{self.largest / 1e6:,.0f} MB"
        promised = answer.length
        if promised is not None and promised > self.largest:
            raise DataError(f"{url}: {promised / 1e6:,.0f} MB, more than the {most} that are fetched", FIX)
        parts, size = [], 0
        while part := answer.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if size > self.largest:
                raise DataError(f"{url}: more than the {most} that are fetched", FIX)
        if promised is not None and size < promised:
            raise DataError(f"{url}: ended after {size:,} of {promised:,} bytes", "try again, or download the image")
        return b"".join(parts)


class _Checked(http.client.HTTPSConnection):
    """A connection to one of some addresses, with the certificate of a host's name."""

    def __init__(self, host: str, addresses: list[str], port: int, context: ssl.SSLContext, silence: float) -> None:
        super().__init__(host, port, timeout=silence, context=context)
        self.addresses, self.tls, self.late = addresses, context, False

    def connect(self) -> None:
        """Connect to an address, which was checked, and not to the name, which may have another by now."""
        failed: OSError = OSError("no address")
        for address in self.addresses:
            try:
                plain = socket.create_connection((address, self.port), self.timeout)
            except OSError as error:
                failed = error
                continue
            # In two steps, so that a deadline can cut the handshake too.
            made = self.tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = made
            if self.late:
                raise TimeoutError("too late")
            made.do_handshake()
            return
        raise failed

    def cut(self) -> None:
        """End the connection from another thread; whoever reads from it gets an error or an end."""
        self.late = True
        with contextlib.suppress(OSError, AttributeError, TypeError):  # there may be no socket yet
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # not that of TLS, which the other thread reads


def _ascii(host: str) -> str:
    """The name of a host as the DNS has it."""
    return host if host.isascii() else host.encode("idna").decode()


FETCHER = Fetcher()


def fetch(url: str) -> bytes:
    """Fetch the bytes of an image by https, as `Fetcher` does."""
    return FETCHER(url)
