"""The small languages inside an inventory: names, addresses, ranges, endpoints. Each raises ValueError
that says what is wrong and what would be right."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from posixpath import normpath
from typing import TypeVar
from urllib.parse import urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from hardway.inventory.model import API_PORT, Address, Endpoint, Range
from hardway.inventory.problems import quoted

A = TypeVar("A", IPv4Address, IPv6Address)
V = TypeVar("V", Address, Range)

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}")
_SSH_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,252}")
_JUMP = re.compile(r"(?:[A-Za-z0-9_.\\-]+@)?(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_PROXY = re.compile(
    r"https?://(\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+)|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*)(:(?P<port>[0-9]{1,5}))?/?"
)
FOLDERS = ("/etc", "/opt", "/root", "/srv", "/usr/local", "/var/lib")
"""Below which an operator's files may go: what is elsewhere is the distribution's, or gone with the next boot."""

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def name(text: str) -> str:
    """An RFC 1123 label that cannot be taken for an address."""
    if not _LABEL.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is not an RFC 1123 name; right: 1 to 63 of a-z, 0-9 and -, no - at either end"
        )
    if text.isdigit():
        raise ValueError(f"{quoted(text)} would be read as an address; a name needs a letter")
    return text


def command(text: str) -> str:
    """A command line; what is in it is the shell's."""
    if not text:
        raise ValueError("is empty; right: a command line, such as ./hooks/silence.sh")
    return text


def dns_name(text: str) -> str:
    """A DNS name of RFC 1123 labels, such as `api.example.net`."""
    labels = text.split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError(f"{quoted(text)} is not a DNS name; right: a name such as example.net, in lower case")
    return text


_BUILT_IN_GROUPS = frozenset(
    ("admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "authentication.k8s.io",
     "authorization.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
     "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io",
     "rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io")
)  # fmt: skip


def encrypted(text: str) -> str:
    """What can be encrypted in etcd: Secrets, ConfigMaps, and custom resources by their full names."""
    if text in ("secrets", "configmaps"):
        return text
    plural, _, group = text.partition(".")
    if not (_LABEL.fullmatch(plural) and "." in group and group not in _BUILT_IN_GROUPS):
        right = "secrets, configmaps, or a custom resource as PLURAL.GROUP, such as certificates.example.com"
        raise ValueError(f"{quoted(text)} cannot be encrypted by hardway; right: {right}")
    dns_name(group)
    return text


def address(text: str) -> IPv4Address:
    """An IPv4 address that a machine can have."""
    try:
        parsed = IPv4Address(text)
    except AddressValueError:
        right = "IPv4 without a prefix or port, such as 10.240.0.10"
        raise ValueError(f"{quoted(text)} is not an IPv4 address; right: {right}") from None
    return _dialled(parsed)


def address6(text: str) -> IPv6Address:
    """An IPv6 address that a machine can have."""
    try:
        parsed = IPv6Address(text)
    except AddressValueError:
        right = "IPv6 without a prefix, brackets or port, such as fd00:240::10"
        raise ValueError(f"{quoted(text)} is not an IPv6 address; right: {right}") from None
    if parsed.scope_id or parsed.ipv4_mapped:
        raise ValueError(f"{quoted(text)} is an IPv6 address of this machine only; right: such as fd00:240::10")
    return _dialled(parsed)


def any_address(text: str) -> Address:
    """An address of either family; what has no colon is meant to be IPv4."""
    return address6(text) if ":" in text else address(text)


def _dialled(parsed: A) -> A:
    """The address, where other machines can dial it."""
    for wrong, is_so in (
        ("the unspecified address", parsed.is_unspecified),
        ("a loopback address", parsed.is_loopback),
        ("a multicast address", parsed.is_multicast),
        ("a link-local address", parsed.is_link_local),
        ("a reserved address", parsed.is_reserved),
    ):
        if is_so:
            raise ValueError(f"{parsed} is {wrong}; right: one that the other machines can dial")
    return parsed


def network(text: str) -> IPv4Network:
    """An IPv4 range written as its first address and prefix length."""
    try:
        loose = IPv4Network(text, strict=False)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an IPv4 range; right: a range such as 10.32.0.0/24") from None
    if "/" not in text:
        raise ValueError(f"{quoted(text)} has no prefix length; right: a range such as {text}/24")
    if str(loose) != text:
        raise ValueError(f"{quoted(text)} does not begin at the range's first address; right: {loose}")
    return loose


def network6(text: str) -> IPv6Network:
    """An IPv6 range written as its first address and prefix length."""
    try:
        loose = IPv6Network(text, strict=False)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an IPv6 range; right: a range such as fd00:32::/112") from None
    if "/" not in text:
        raise ValueError(f"{quoted(text)} has no prefix length; right: a range such as {text}/112")
    if ip_address(text.partition("/")[0]) != loose.network_address:
        raise ValueError(f"{quoted(text)} does not begin at the range's first address; right: {loose}")
    return loose


def any_network(text: str) -> Range:
    """A range of either family; what has no colon is meant to be IPv4."""
    return network6(text) if ":" in text else network(text)


def families(values: tuple[V, ...]) -> tuple[V, ...]:
    """One family, or IPv4 and then IPv6: hardway and the components dial each other over the first."""
    versions = [value.version for value in values]
    if versions in ([4], [6], [4, 6]):
        return values
    if versions == [6, 4]:
        raise ValueError(f"IPv4 must come first; right: [{values[1]}, {values[0]}]")
    raise ValueError("has two of one family; right: one of IPv4, and after it at most one of IPv6")


def host(text: str) -> str:
    """An address or a DNS name."""
    if ":" in text:
        return str(address6(text))
    if re.fullmatch(r"[0-9.]+", text):
        return str(address(text))
    return dns_name(text)


def san(text: str) -> str:
    """A name or address that a certificate may hold beside others: also IPv6, and a wildcard for one label."""
    bare = text.strip("[]")
    if _is_ipv6(bare):
        return _san_address(text, IPv6Address(bare))
    if re.fullmatch(r"[0-9.]+", text):
        try:
            return _san_address(text, IPv4Address(text))
        except AddressValueError:
            raise ValueError(f"{quoted(text)} is not an IPv4 address; right: such as 203.0.113.7") from None
    if (right := _instead_of(text)) is not None:
        raise ValueError(right)
    if text.startswith("*."):
        if "." not in text[2:]:
            raise ValueError(f"{quoted(text)} is a wildcard too wide for OpenSSL; right: such as *.example.net")
        return f"*.{dns_name(text[2:])}"
    if "*" in text:
        right = "* for the whole first label, such as *.example.net"
        raise ValueError(f"{quoted(text)} is no wildcard that clients know; right: {right}")
    return dns_name(text)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _san_address(text: str, parsed: IPv4Address | IPv6Address) -> str:
    if isinstance(parsed, IPv6Address) and parsed.scope_id:
        raise ValueError(f"{quoted(text)} has a zone, which no certificate can hold; right: {text.partition('%')[0]}")
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        raise ValueError(f"{quoted(text)} is an IPv4 address for every client; right: {parsed.ipv4_mapped}")
    if text.startswith("[") or text.endswith("]"):
        raise ValueError(f"{quoted(text)} has brackets, which belong to URLs; right: {parsed}")
    if parsed.is_unspecified or parsed.is_multicast:
        raise ValueError(f"{parsed} is nothing that a client can dial; right: an address of the API")
    return str(parsed)


def _instead_of(text: str) -> str | None:
    """What is wrong with a text that somebody might take for a name of the API; None where it may be one."""
    address, slash, _ = text.partition("/")
    host, colon, port = text.rpartition(":")
    if "://" in text:
        return f"{quoted(text)} is a URL; right: its host alone, such as {urlsplit(text).hostname or 'api.example.net'}"
    if "," in text or re.search(r"\s", text.strip()):
        return f"{quoted(text)} is several in one text; right: a list such as [api.example.net, 203.0.113.7]"
    if text != text.strip():
        return f"{quoted(text)} begins or ends with a space; right: {text.strip()}"
    if slash:
        return f"{quoted(text)} is a range or a path; right: one address or name, such as {address or '203.0.113.7'}"
    if "@" in text:
        return f"{quoted(text)} is an e-mail address, and nobody dials one; right: api.example.net"
    if colon and port.isdigit():
        return f"{quoted(text)} has a port, which no certificate holds; right: {host}"
    if text.partition(":")[0].upper() in ("DNS", "IP", "URI") and colon:
        return f"{quoted(text)} is in openssl's words; right: {text.partition(':')[2]}"
    if text != text.lower():
        return f"{quoted(text)} has upper case; right: {text.lower()}"
    if text.endswith(".") and len(text) > 1:
        return f"{quoted(text)} ends with a dot; right: {text.rstrip('.')}"
    if not text.isascii():
        return f"{quoted(text)} is not ASCII; right: {_ascii(text)}"
    return None


def _ascii(text: str) -> str:
    """A name as DNS has it: `xn--…`."""
    try:
        return text.encode("idna").decode()
    except UnicodeError:
        return "its form that begins with xn--"


def endpoint(text: str) -> Endpoint:
    """`HOST` or `HOST:PORT`; an IPv6 address with a port is in brackets."""
    if "://" in text or "/" in text:
        raise ValueError(f"{quoted(text)} is a URL; right: HOST or HOST:PORT, such as api.example.net:6443")
    where, colon, digits = _parted(text)
    if colon and not (re.fullmatch(r"[0-9]{1,5}", digits) and 0 < int(digits) < 65536):
        raise ValueError(f"{quoted(text)} has no port after the colon; right: {where or 'HOST'}:{API_PORT}")
    return Endpoint(host(where), int(digits) if colon else API_PORT)


def _parted(text: str) -> tuple[str, str, str]:
    """The host, a colon and the port; without a port the last two are empty."""
    if bracketed := re.fullmatch(r"\[([^]]*)\](?:(:)(.*))?", text):
        return bracketed[1], bracketed[2] or "", bracketed[3] or ""
    return (text, "", "") if text.count(":") > 1 else text.partition(":")


def ssh_host(text: str) -> str:
    """A name, an address or an ssh_config alias; nothing that ssh could take for an option."""
    if not _SSH_HOST.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a host; right: a name, an address or an alias of ssh_config")
    return text


def ssh_user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a user name; right: a name such as ops")
    return text


def ssh_jump(text: str) -> str:
    """What `ssh -J` takes: `[user@]host[:port]`, several with commas."""
    if not all(_JUMP.fullmatch(hop) for hop in text.split(",")):
        raise ValueError(f"{quoted(text)} is not a jump host; right: [user@]host[:port], several with commas")
    return text


def version(text: str, of: str = "Kubernetes ", such_as: str = "1.36.4") -> str:
    """A version of Kubernetes, or of one of the components."""
    if not re.fullmatch(r"(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,3})){2}", text):
        right = text[1:] if re.fullmatch(r"v\d+\.\d+\.\d+", text) else f"three numbers such as {such_as}"
        raise ValueError(f"{quoted(text)} is no {of}version; right: {right}")
    return text


def version_range(text: str) -> str:
    """Which versions of hardway may touch the cluster, as PEP 440 specifiers."""
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f"{quoted(text)} is not a version range; right: such as '>=1.4,<2'") from None
    return text


def path(text: str) -> str:
    """A file or folder of the operator's, which need not be there yet."""
    try:
        Path(text).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{quoted(text)} names the home of a user that does not exist here; right: ~/ or a path"
        ) from None
    return text


def name_server(text: str) -> str:
    """`ADDRESS` or `ADDRESS:PORT` of a DNS server; an IPv6 address with a port is in brackets."""
    where, colon, digits = _parted(text)
    is_good = not colon or (re.fullmatch(r"[0-9]{1,5}", digits) and 0 < int(digits) < 65536)
    try:
        any_address(where)
    except ValueError:
        is_good = False
    if not is_good:
        right = "an address, or one with a port, such as 10.0.0.53:5353"
        raise ValueError(f"{quoted(text)} is not a name server; right: {right}")
    return text


def owner(text: str) -> str:
    """`USER` or `USER:GROUP`, as chown takes them."""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}(:[a-z_][a-z0-9_-]{0,31})?", text):
        raise ValueError(f"{quoted(text)} is not an owner; right: USER or USER:GROUP, such as etcd:etcd")
    return text


def target(text: str) -> str:
    """The path of a file on machines, in one of the folders in which files of an operator's have a place."""
    if not text.startswith("/") or normpath(text) != text:
        raise ValueError(f"{quoted(text)} is not a path on machines; right: the whole path, such as /etc/ssl/corp.pem")
    if not text.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
        raise ValueError(f"{quoted(text)} is not below one of {', '.join(FOLDERS)}; put it there")
    return text


def mirror(text: str) -> str:
    """A folder or a base URL; never one with a password, since inventories are shared."""
    if "://" not in text:
        return path(text)
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("is not an http or https URL; right: https://mirror.example.net/hardway, or a folder")
    if url.password is not None or url.username is not None:
        raise ValueError("holds a user or password; right: the plain URL, and those in ~/.netrc")
    return text


def proxy(text: str) -> str:
    """An HTTP proxy; never one with a password, since inventories are shared and every machine is told.

    It stands in units, in shell and in the environment as it is: so nothing that means something there.
    """
    if "@" in text:
        raise ValueError("holds a user or password, and every machine would be told; right: a proxy that asks for none")
    parts = _PROXY.fullmatch(text)
    try:
        if parts is None or not 0 < int(parts["port"] or 80) < 65536:
            raise ValueError(text)
        IPv6Address(parts["v6"] or "::1")
        IPv4Address(parts["v4"] or "127.0.0.1")
    except ValueError:
        right = "http://HOST:PORT, such as http://proxy.example.net:3128"
        raise ValueError(f"is not a proxy URL; right: {right}") from None
    return text.rstrip("/")


def node_label_key(text: str) -> str:
    """`[prefix/]name`: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/"""
    prefix, slash, bare = text.rpartition("/")
    if not _LABEL_NAME.fullmatch(bare):
        raise ValueError(f"{quoted(text)} is not a label; right: [prefix/]name, such as disk or example.net/disk")
    if slash:
        dns_name(prefix)
    return text


EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def taint(text: str) -> str:
    """`key[=value]:Effect`, as `kubectl taint` takes it; without a value it becomes `key=:Effect`."""
    pair, colon, effect = text.rpartition(":")
    right = "key=value:Effect, such as dedicated=gpu:NoSchedule"
    if text.endswith("-"):
        raise ValueError(f"{quoted(text)} takes a taint away; right: leave it out here, and hardway takes it away")
    if not colon:
        raise ValueError(f"{quoted(text)} has no effect; right: {right}")
    if effect not in EFFECTS:
        near = next((one for one in EFFECTS if one.lower() == effect.lower()), "")
        meant = f"; did you mean {near}?" if near else ""
        raise ValueError(f"{quoted(effect)} is no effect of a taint; right: {', '.join(EFFECTS)}{meant}")
    key, _, value = pair.partition("=")
    node_label_key(key)
    node_label_value(value)
    if key.startswith("node.kubernetes.io/"):
        raise ValueError(
            f"{quoted(key)} is a taint that Kubernetes sets and takes away itself; right: a key of your own"
        )
    return f"{key}={value}:{effect}"


def node_label_value(text: str) -> str:
    if text and not _LABEL_NAME.fullmatch(text):
        right = "up to 63 of letters, digits, -, _ and ., a letter or digit at both ends"
        raise ValueError(f"{quoted(text)} is not a label value; right: {right}")
    return text
