"""Rules about keys that several machines must share: of encryption at rest, and of tokens."""

from __future__ import annotations

from collections.abc import Iterator

from hardway.lint.rules.common import SETUP, setup_of
from hardway.probe.setup.model import MachineSetup
from hardway.rules import Evidence, Found, Rule

SIZES = {"secretbox": (32,), "aescbc": (16, 24, 32), "aesgcm": (16, 24, 32)}
"""Bytes that a provider's key may have."""


def encryption_keys(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    first: MachineSetup | None = None
    for machine in setup.machines.values():
        if machine.encryption is None:
            continue
        for provider in machine.encryption:
            sizes = SIZES.get(provider.name, ())
            for _, size in provider.keys:
                if sizes and size not in sizes:
                    good = " or ".join(filter(None, (", ".join(map(str, sizes[:-1])), str(sizes[-1]))))
                    yield Found(machine.name, f"a key of {provider.name} decodes to {size} bytes, not to {good}",
                                "head -c 32 /dev/urandom | base64, once, and that on every controller")  # fmt: skip
        if first is None:
            first = machine
        elif [one.keys for one in machine.encryption] != [one.keys for one in first.encryption or ()]:
            yield Found(machine.name, f"its encryption keys are not those of {first.name}")


def identity_first(evidence: Evidence) -> Iterator[Found]:
    for machine in setup_of(evidence).machines.values():
        if machine.encryption and machine.encryption[0].name == "identity":
            yield Found(machine.name, "the first provider of its encryption configuration is identity")


def token_keys(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    verifiers = {name: _verifiers(one) for name, one in setup.machines.items()}
    for machine in setup.machines.values():
        for component in ("kube-apiserver", "kube-controller-manager"):
            signer = machine.keys.get(f"{component}/token-signer")
            doubting = [name for name, known in verifiers.items() if signer and known and signer not in known]
            if doubting:
                yield Found(
                    machine.name,
                    f"{component} signs tokens with a key that the API server on {', '.join(doubting)} does not know",
                )


def _verifiers(machine: MachineSetup) -> set[str]:
    return {key for purpose, key in machine.keys.items() if purpose.startswith("kube-apiserver/token-verifier")}


def token_issuers(evidence: Evidence) -> Iterator[Found]:
    issuers = {machine.name: one.flags.get("service-account-issuer", "")
               for machine, one in setup_of(evidence).each("kube-apiserver")}  # fmt: skip
    first = next(iter(issuers), "")
    for name, issuer in issuers.items():
        if issuer != issuers[first]:
            yield Found(name, f"its API server issues tokens as {issuer or 'nobody'}, {first} as {issuers[first]}")


RULES = (
    Rule(
        "encryption-key", SETUP, encryption_keys,
        "an API server with another key cannot read what is stored, and one with a malformed key does not start",
        "copy the encryption configuration of the controller that wrote first to all others", layer="control plane",
        detects="encryption keys that differ between controllers, or have the wrong length",
        symptom="smoke-test: no matching prefix found; control-plane: secret is not of the expected length",
    ),
    Rule(
        "encryption-identity", SETUP, identity_first, "the first provider writes: identity writes plain text",
        "put the provider with the key first", layer="control plane",
        detects="an encryption configuration that begins with `identity`",
        symptom="smoke-test: Secrets are stored in etcd in plain text",
    ),
    Rule(
        "token-key", SETUP, token_keys, "a token that one signs must be believed by all API servers",
        "one key pair (sa.key, sa.pub) on all controllers", layer="control plane",
        detects="service-account keys that do not belong together, or differ between controllers",
        symptom="dns: Unauthorized: invalid bearer token",
    ),
    Rule(
        "token-issuer", SETUP, token_issuers, "an API server believes only tokens with its own issuer's name",
        "one --service-account-issuer on all controllers", layer="control plane",
        detects="API servers with different --service-account-issuer",
        symptom="dns: Unauthorized: invalid bearer token",
    ),
)  # fmt: skip
