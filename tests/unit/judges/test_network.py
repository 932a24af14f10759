"""Which addresses report text may go to without being asked for."""

from __future__ import annotations

import socket

import pytest

from judges.network import host_of, is_private, urls

PRIVATE = ["http://localhost:80", "http://127.0.0.1", "http://127.9.9.9/x", "http://[::1]:8", "http://10.1.2.3",
           "http://192.168.0.7:1", "http://172.31.0.1", "http://[fd00::1]/", "http://gpu07:8000", "HTTPS://GPU07/",
           "http://judge.cluster.local", "http://0x7f.1/", "http://2130706433/", "http://[::ffff:10.0.0.1]/",
           "http://169.254.1.1"]  # fmt: skip
PUBLIC = ["http://8.8.8.8", "https://[2001:4860:4860::8888]/", "http://134744072/", "http://0x08080808",
          "http://010.8.8.8", "http://localhost@8.8.8.8/", "http://8.8.8.8#localhost", "http://[::ffff:8.8.8.8]/",
          "http://172.32.0.1", "http://", "http://[::1", "  https://8.8.4.4", "grpc://8.8.8.8:1"]  # fmt: skip


@pytest.mark.parametrize("url", PRIVATE)
def test_own_addresses(url):
    assert is_private(host_of(url))


@pytest.mark.parametrize("url", PUBLIC)
def test_everybody_else_s(url):
    assert not is_private(host_of(url))


@pytest.mark.parametrize(
    ("found", "private"),
    [(["10.0.0.5"], True), (["10.0.0.5", "8.8.8.8"], False), (["8.8.8.8"], False), (["fe80::1%eth0"], True)],
)
def test_a_name_is_what_it_resolves_to(monkeypatch, found, private):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(0, 0, 0, "", (address, 0)) for address in found])
    assert is_private("judge.hospital.example") is private


def test_a_name_that_nobody_knows_is_not_private(monkeypatch):
    def unknown(*_):
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not is_private("judge.hospital.example")


def test_urls_are_found_wherever_they_stand():
    args = {"url": "http://a", "servers": [{"at": "HTTPS://b"}, "c"], "file": "file:///tmp/x", "text": "see http://no"}
    assert list(urls(args)) == [("url", "http://a"), ("servers[0].at", "HTTPS://b")]
