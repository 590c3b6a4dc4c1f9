"""A job's key pairs, judged by OpenSSL in a real handshake."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from haversack_operator.cluster.certificates import complete, lasting, names_in

NOW = datetime.now(UTC)
RUN = f"{'n' * 63}.{'j' * 40}.01234567"
"""As long as a run's name can be."""
HUB = "one-hub.team.svc"


def pairs(
    names: set[str], secret: Mapping[str, bytes] | None = None, run: str = RUN
) -> dict[str, bytes]:
    return complete(secret or {}, names, run=run, hub_name=HUB, now=NOW)


def context(folder: Path, secret: Mapping[str, bytes], name: str, side: int) -> ssl.SSLContext:
    made = ssl.SSLContext(side)
    made.load_verify_locations(cadata=secret["ca.crt"].decode())
    made.verify_mode = ssl.CERT_REQUIRED
    for part in ("crt", "key"):
        (folder / f"{name}.{part}").write_bytes(secret[f"{name}.{part}"])
    made.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return made


def shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str = HUB) -> dict[str, str]:
    """The subject that the hub sees. Raises ``SSLError`` when one side says no."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    seen = far.getpeercert() or {}
    return {part[0][0]: part[0][1] for part in seen["subject"]}


def test_hub_and_peer_know_each_other_by_name(tmp_path: Path) -> None:
    secret = pairs({"hub", "peer-3"})
    server = context(tmp_path, secret, "hub", ssl.PROTOCOL_TLS_SERVER)
    client = context(tmp_path, secret, "peer-3", ssl.PROTOCOL_TLS_CLIENT)
    assert shake(client, server) == {"commonName": "peer-3", "organizationName": RUN}
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(client, server, "another-hub.team.svc")


def test_another_jobs_certificates_are_worth_nothing(tmp_path: Path) -> None:
    ours, theirs = pairs({"hub"}), pairs({"peer-0"}, run="team.other.89abcdef")
    server = context(tmp_path, ours, "hub", ssl.PROTOCOL_TLS_SERVER)
    client = context(tmp_path, theirs, "peer-0", ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLError):
        shake(client, server)


def test_a_peer_cannot_play_the_hub(tmp_path: Path) -> None:
    secret = pairs({"hub", "peer-0", "peer-1"})
    server = context(tmp_path, secret, "peer-0", ssl.PROTOCOL_TLS_SERVER)
    client = context(tmp_path, secret, "peer-1", ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLError):
        shake(client, server)


def test_only_what_is_missing_is_added() -> None:
    first = pairs({"hub", "peer-0"})
    second = pairs({"hub", "peer-0", "peer-1"}, first)
    assert names_in(second) == {"ca", "hub", "peer-0", "peer-1"}
    assert {name: second[name] for name in first} == first


def test_pairs_are_renewed_a_month_before_they_expire_and_signed_by_the_same_authority() -> None:
    old = pairs({"hub", "peer-0"})
    for days, renewed in ((334, set()), (336, {"hub", "peer-0"}), (400, {"hub", "peer-0"})):
        now = NOW + timedelta(days=days)
        assert lasting(old, now) == {"ca", "hub", "peer-0"} - renewed
        new = complete(old, {"hub", "peer-0"}, run=RUN, hub_name=HUB, now=now)
        assert {
            name for name in names_in(new) if new[f"{name}.crt"] != old[f"{name}.crt"]
        } == renewed
        assert lasting(new, now) == {"ca", "hub", "peer-0"}


def test_an_authority_about_to_expire_is_renewed_with_all_its_pairs(tmp_path: Path) -> None:
    old = pairs({"hub", "peer-0", "operator"})
    now = NOW + timedelta(days=3650 - 29)
    assert lasting(old, now) == frozenset()
    new = complete(old, {"hub"}, run=RUN, hub_name=HUB, now=now)
    assert lasting(new, now) == {"ca", "hub", "peer-0", "operator"}


def test_a_certificate_that_cannot_be_read_is_made_anew() -> None:
    old = pairs({"hub"}) | {"hub.crt": b"nonsense"}
    assert lasting(old, NOW) == {"ca"}
    assert lasting(pairs({"hub"}, old), NOW) == {"ca", "hub"}


def test_half_a_pair_is_none() -> None:
    secret = pairs({"hub"})
    del secret["hub.key"]
    assert names_in(secret) == {"ca"}
    assert names_in(pairs({"hub"}, secret)) == {"ca", "hub"}


def test_certificates_allow_for_a_clock_that_is_behind() -> None:
    certificate = x509.load_pem_x509_certificate(pairs({"operator"})["operator.crt"])
    assert (NOW - certificate.not_valid_before_utc).total_seconds() >= 3600 - 1
    assert 364 <= (certificate.not_valid_after_utc - NOW).days <= 366
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "operator"
