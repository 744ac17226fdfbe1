"""Certificates: made in memory for this machine, or read from files."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from signaling.http.tls import Tls, load_context, make_certificate
from signaling.settings.config import Config
from signaling.settings.setting import ConfigError

NOW = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)


def test_a_made_certificate_names_the_machine_and_its_addresses() -> None:
    made = make_certificate(["localhost", "box", "box"], ["192.0.2.1", "2001:db8::1"], NOW)
    certificate = x509.load_pem_x509_certificate(made.chain)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "box"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("192.0.2.1"),
        ipaddress.ip_address("2001:db8::1"),
    ]
    digest = certificate.fingerprint(hashes.SHA256())
    assert made.fingerprint == digest.hex(":").upper()


def test_a_made_certificate_is_valid_now_and_no_longer_than_browsers_accept() -> None:
    certificate = x509.load_pem_x509_certificate(make_certificate(["a"], [], NOW).chain)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert whole < datetime.timedelta(days=398)


def test_self_signed_makes_a_context_and_says_its_fingerprint() -> None:
    tls = Tls(Config(tls="self-signed"))
    assert isinstance(tls.context, ssl.SSLContext)
    assert tls.fingerprint is not None
    assert len(tls.fingerprint) == 95


def test_plain_http_is_the_default() -> None:
    tls = Tls(Config())
    assert (tls.context, tls.fingerprint) == (None, None)
    assert tls.reload()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    made = make_certificate(["localhost"], [], NOW)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(made.chain)
    key.write_bytes(made.key)
    return chain, key


def test_certificate_files_are_read(files: tuple[Path, Path]) -> None:
    chain, key = files
    tls = Tls(Config(tls_cert=str(chain), tls_key=str(key)))
    assert tls.context is not None
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls.fingerprint is None


def refuse(chain: Path, key: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_context(str(chain), str(key))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    chain, key = files
    assert "--tls-cert: cannot read" in refuse(tmp_path / "none.pem", key)
    assert "--tls-key: cannot read" in refuse(chain, tmp_path / "none.pem")


def test_what_is_no_certificate_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("hello")
    assert "do not work together" in refuse(rubbish, files[1])
    assert "do not work together" in refuse(files[0], rubbish)


def test_a_key_of_another_certificate_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(make_certificate(["localhost"], [], NOW).key)
    assert "key values mismatch" in refuse(files[0], other)
