"""URLs of servers: on this machine, over TLS, in a private network, public over plain HTTP, and texts that are no URLs."""

from __future__ import annotations

HERE = [
    "http://127.0.0.1:12111",
    "http://localhost",
    "http://localhost:4242/",
    "http://[::1]:12111",
    "http://host.docker.internal:12111",
    "http://127.1.2.3",
]
HTTPS = ["https://api.stripe.com", "https://stripe.example.com:8443/base", "https://10.0.0.5"]
ELSEWHERE = ["http://stripe:12111", "http://10.0.0.5:12111", "http://192.168.1.20", "http://172.17.0.1:12111"]
PUBLIC = [
    "http://api.stripe.com", "http://stripe.example.com", "http://127.0.0.1.example.com", "http://localhost.example.com",
    "http://host.docker.internal.example.com", "http://1270.0.0.1", "http://169.254.169.254", "http://8.8.8.8", "HTTP://api.stripe.com",
]  # fmt: skip
WRONG = [
    "http://[::1].example.com",
    "http://localhost:port",
    "http://localhost@evil.example", "http://127.0.0.1:80@evil.example", "http://127.0.0.1\\@evil.example", "https://user@api.stripe.com",
    "ftp://localhost", "localhost:12111", "//localhost", "https://", "http://", "https://a b", "javascript:x", "http:/localhost", "http://[::1",
]  # fmt: skip
