"""Paramiko's transport, with the names that algorithms have today and an error that says which one is missing."""

from typing import Any

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_CURVE, _CURVE_BEFORE = "curve25519-sha256", "curve25519-sha256@libssh.org"
_PARENT: Any = paramiko.Transport


class Transport(paramiko.Transport):
    """Also knows curve25519-sha256 by the name that RFC 8731 gave it; asks for the fast ciphers first."""

    _kex_info: dict[str, Any] = {**_PARENT._kex_info, _CURVE: _PARENT._kex_info[_CURVE_BEFORE]}  # noqa: RUF012
    _preferred_kex = (*_PARENT._preferred_kex[:1], _CURVE, *_PARENT._preferred_kex[1:])

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        security = self.get_security_options()
        security.ciphers = (*_CIPHERS, *(name for name in security.ciphers if name not in _CIPHERS))

    def _really_parse_kex_init(self, m: paramiko.Message, ignore_first_byte: bool = False) -> dict[str, list[str]]:
        offers: dict[str, list[str]] = _PARENT._really_parse_kex_init(self, m, ignore_first_byte)
        security = self.get_security_options()
        for what, ours, offer in (
            ("key exchange", security.kex, "kex_algo_list"),
            ("host key", security.key_types, "server_key_algo_list"),
            ("cipher", security.ciphers, "server_encrypt_algo_list"),
            ("MAC", security.digests, "server_mac_algo_list"),
        ):
            if not set(ours) & set(offers[offer]):
                raise IncompatiblePeer(
                    f"no {what} algorithm in common; it offers {', '.join(offers[offer])}; "
                    f"hardway knows {', '.join(ours)}"
                )
        return offers
