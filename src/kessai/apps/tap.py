"""`kessai tap`: tap on a terminal of the simulated card network, and see what the terminal shows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from kessai.apps.outside import running
from kessai.foundation.config import load_settings
from kessai.foundation.errors import OperatorError

URL_VARIABLE = "KESSAI_CARD_NETWORK_URL"
TIMEOUT_S = 30.0
"""More than the network waits for an issuer."""


def main(words: Sequence[str] | None = None) -> int:
    """0 when the tap was approved, 1 when not; raises OperatorError when no network can be reached.

    Where the network is: the flag, or the settings, or what a platform on that data simulates just now.
    """
    options = _parser().parse_args(words)
    flags = {"data": options.data, "database_url": options.database_url}
    where = options.url or running(load_settings(flags, file=options.config)).card_network_url
    if where is None:
        raise OperatorError(f"No card network is known: start kessai up, give --url, or set {URL_VARIABLE}.")
    told = _tapped(where, _body(options))
    Console().print(_shown(told))
    return 0 if told["approved"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kessai tap", description=__doc__)
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--card", help="the card's reference at the network: c and fifteen digits")
    whose.add_argument("--device", help="a device's id")
    parser.add_argument("--amount", type=int, required=True, help="in the minor unit")
    parser.add_argument("--mcc", default="5812", help="merchant category code")
    parser.add_argument("--entry", choices=("contactless", "in_app"), default="contactless")
    parser.add_argument("--url", help="where the network's HTTP is")
    parser.add_argument("--data", help="folder of the platform whose simulated network it is (.kessai)")
    parser.add_argument("--database-url", help="that platform's database, if it is one of your own")
    parser.add_argument("--config", type=Path, help="settings as TOML")
    return parser


def _body(options: argparse.Namespace) -> dict[str, Any]:
    names = ("card", "device", "amount", "mcc", "entry")
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _tapped(url: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        reply = httpx.post(f"{url}/control/tap", json=body, timeout=TIMEOUT_S, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OperatorError(f"The card network at {url} cannot be reached: {error}.") from error
    try:
        told: dict[str, Any] = reply.json()
    except ValueError as error:
        raise OperatorError(f"What is at {url} is no simulated card network (HTTP {reply.status_code}).") from error
    if reply.status_code != 200:
        raise OperatorError(f"The terminal refuses: {told.get('code', reply.status_code)}.")
    return told


def _shown(told: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None)
    for name in ("id", "state", "response", "approval_code", "amount", "currency", "card", "rrn"):
        table.add_row(name, "" if told[name] is None else str(told[name]))
    return table
