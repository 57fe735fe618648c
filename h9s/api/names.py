"""The syntax of names: of objects, labels, ports and environment variables (Kubernetes', RFC 1123).

Each check answers with what is wrong, or "" if nothing is.
"""

from __future__ import annotations

import random
import re

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_QUALIFIED_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"(?=[-0-9]*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*")
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

#: What random endings are made of: no vowels, so no words.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

MAX_LABEL = 63
MAX_SUBDOMAIN = 253


def random_suffix(rng: random.Random, length: int = 5) -> str:
    """The ending of a generated name."""
    return "".join(rng.choices(_SUFFIX_ALPHABET, k=length))


def dns_label_fault(text: str) -> str:
    """`web-1`: one part of a domain name."""
    if len(text) <= MAX_LABEL and _DNS_LABEL.fullmatch(text):
        return ""
    return (
        f"{text!r} is not a valid name: lower-case letters, digits and '-', starting and ending with a "
        f"letter or digit, at most {MAX_LABEL} characters"
    )


def dns_subdomain_fault(text: str) -> str:
    """`web-1.example`: DNS labels separated by dots."""
    if len(text) <= MAX_SUBDOMAIN and _DNS_SUBDOMAIN.fullmatch(text):
        return ""
    return (
        f"{text!r} is not a valid name: lower-case letters, digits, '-' and '.', each part starting and "
        f"ending with a letter or digit, at most {MAX_SUBDOMAIN} characters"
    )


def label_key_fault(text: str) -> str:
    """`app` or `example.com/app`."""
    prefix, slash, name = text.rpartition("/")
    if len(name) > MAX_LABEL or not _QUALIFIED_NAME.fullmatch(name):
        return (
            f"{text!r} is not a valid key: letters, digits, '-', '_' and '.', starting and ending with a "
            f"letter or digit, at most {MAX_LABEL} characters, with an optional DNS name and '/' before it"
        )
    if slash and dns_subdomain_fault(prefix):
        return f"{text!r} is not a valid key: before the '/' must be a DNS name such as example.com"
    return ""


def label_value_fault(text: str) -> str:
    """Empty, or like the key without its prefix."""
    if not text or (len(text) <= MAX_LABEL and _QUALIFIED_NAME.fullmatch(text)):
        return ""
    return (
        f"{text!r} is not a valid label value: letters, digits, '-', '_' and '.', starting and ending "
        f"with a letter or digit, at most {MAX_LABEL} characters"
    )


def port_name_fault(text: str) -> str:
    """`http`, `metrics-1`: a service name of RFC 6335."""
    if len(text) <= 15 and _PORT_NAME.fullmatch(text):
        return ""
    return (
        f"{text!r} is not a valid port name: lower-case letters, digits and single '-' between them, "
        "at least one letter, at most 15 characters"
    )


def env_name_fault(text: str) -> str:
    """The name of an environment variable."""
    if _ENV_NAME.fullmatch(text) and text != "." and not text.startswith(".."):
        return ""
    return (
        f"{text!r} is not a valid environment variable name: letters, digits, '_', '-' and '.', "
        "not starting with a digit or '..'"
    )
