"""Card payments beside `kessai up`: where it listens, a card that is got and tapped without code, what is wrong."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from kessai.apps.nfc_line import peers_of, tls_settings
from kessai.foundation.config import Settings
from kessai.foundation.errors import OperatorError
from tests.apps.operator import KESSAI, TIMEOUT_S, StartUp, Up, refused
from tests.nfc.certificates import Authority

PAGE = (Path(__file__).parents[2] / "docs" / "services" / "nfc.md").read_text(encoding="utf-8")
NOT_TYPED = ("KEY=", "URL=", "DATA=")


def script(up: Up, data: Path) -> str:
    """The page's commands, against this platform."""
    section = PAGE.split("## A card in the hand")[1].split("\n## ")[0]
    lines = "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)).splitlines()
    typed = "\n".join(line for line in lines if not line.startswith(NOT_TYPED))
    tap = f"{sys.executable} -m kessai tap --data {data}"
    typed = typed.replace(".venv/bin/kessai tap", tap)
    return f"set -u\nKEY={up.key}\nURL={up.url}\nDATA={data}\n{typed}\necho REFERENCE=$REFERENCE\n"


async def said_by(*command: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(TIMEOUT_S):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def tapped(data: Path, card: str, amount: int) -> tuple[int, str]:
    """A tap, which waits until the network has signed on."""
    return await said_by(*KESSAI, "tap", "--data", str(data), "--card", card, "--amount", str(amount))


async def signed_on(data: Path) -> None:
    """Wait until the simulated network has signed on with both of its connections."""
    url = (data / "simulators" / "cardnetwork.url").read_text()
    async with asyncio.timeout(TIMEOUT_S), httpx.AsyncClient(trust_env=False) as client:
        while (await client.get(f"{url}/control/wire")).json()["received"] < 2:
            await asyncio.sleep(0.02)


async def figures(up: Up) -> dict[str, float]:
    """What /metrics says of card payments."""
    async with httpx.AsyncClient(trust_env=False) as client:
        lines = (await client.get(f"{up.url}/metrics")).text.splitlines()
    return {
        name: float(value) for name, value in (each.rsplit(" ", 1) for each in lines if each.startswith("kessai_nfc"))
    }


async def authorizations(up: Up, key: str) -> list[dict[str, Any]]:
    """What the platform has of the page's customer, newest first."""
    page: dict[str, Any] = await up.ask("/v1/nfc/authorizations?customer_id=customer:aki", key=key)
    return page["authorizations"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands are made with curl")
async def test_a_card_is_got_and_tapped_as_the_page_says_and_again_after_a_restart(
    folder: Path, start_up: StartUp
) -> None:
    data = folder / "data"
    up = await start_up("--data", str(data))
    key = up.key
    assert key is not None
    assert re.search(r"iD    127\.0\.0\.1:[1-9]\d*  \(ISO 8583 over TCP\)", up.said)
    await signed_on(data)
    code, said = await said_by("bash", "-c", script(up, data))
    assert code == 0, said
    assert said.count("approved") == 1
    assert said.count("declined") == 1
    found = await authorizations(up, key)
    assert [(each["state"], each["response"]) for each in found] == [("DECLINED", "51"), ("APPROVED", "00")]
    shown = await figures(up)
    assert shown['kessai_nfc_connections{signed_on="yes"}'] == 2
    assert shown['kessai_nfc_line_total{what="received"}'] == shown['kessai_nfc_line_total{what="answered"}'] >= 4
    assert (shown["kessai_nfc_open_work"], shown["kessai_nfc_late_total"], shown["kessai_nfc_pool_low"]) == (0, 0, 1)
    reference = said.rsplit("REFERENCE=", 1)[1].strip()
    assert re.fullmatch(r"c\d{15}", reference)
    assert await up.stop() == 0
    assert "id_stopped_with_work_underway" not in up.errors

    again = await start_up("--data", str(data), "--workers", "2")
    await signed_on(data)
    code, said = await tapped(data, reference, 300)
    assert (code, "approved" in said) == (0, True), said
    assert (await authorizations(again, key))[0]["amount_minor"] == 300
    assert await again.stop() == 0


async def test_a_network_of_ones_own_is_not_simulated_and_tls_is_as_set(folder: Path, start_up: StartUp) -> None:
    authority = Authority("authority")
    certificate, secret = authority.certificate(folder, "ours")
    config = folder / "kessai.toml"
    config.write_text(
        f'card_network_url = "http://127.0.0.1:1"\nsms_url = "http://127.0.0.1:1"\n'
        f'nfc_tls_certificate = "{certificate}"\nnfc_tls_key = "{secret}"\n'
        f'nfc_tls_client_ca = "{authority.file(folder)}"\n'
    )
    data = folder / "data"
    up = await start_up("--data", str(data), "--config", str(config))
    assert "(ISO 8583 over TCP, TLS)" in up.said
    assert not list((data / "simulators").glob("*network*"))
    assert not list((data / "simulators").glob("sms*"))
    ready = await up.ask("/readyz")
    assert (ready["status"], ready["card_network"]) == ("ready", {"listening": True, "connections": 0, "signed_on": []})
    assert await up.stop() == 0


async def test_the_simulated_network_comes_over_tls_too(folder: Path, start_up: StartUp) -> None:
    authority = Authority("authority")
    certificate, secret = authority.certificate(folder, "ours")
    config = folder / "kessai.toml"
    config.write_text(
        f'nfc_tls_certificate = "{certificate}"\nnfc_tls_key = "{secret}"\n'
        f'nfc_tls_client_ca = "{authority.file(folder)}"\n'
    )
    up = await start_up("--data", str(folder / "data"), "--config", str(config))
    await signed_on(folder / "data")
    assert await up.stop() == 0
    assert up.errors.count("id_signed_on") == 2


async def test_what_is_wrong_with_the_line_is_one_sentence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = await refused("up", "--port", "0", "--grpc-port", "0", "--nfc-port", port, "--data", str(folder / "d"))
        assert said == f"iD (ISO 8583) cannot listen on 127.0.0.1:{port}: Address already in use."
    assert not (folder / "d").exists()
    said = await refused("up", "--port", "0", "--grpc-port", port, "--nfc-port", port, "--data", str(folder / "d"))
    assert said == f"gRPC and iD (ISO 8583) cannot both listen on 127.0.0.1:{port}; name another port."
    config = folder / "kessai.toml"
    config.write_text('nfc_tls_certificate = "nowhere.pem"\nnfc_tls_key = "nowhere.key"\n')
    said = await refused(
        "up", "--port", "0", "--grpc-port", "0", "--data", str(folder / "data"), "--config", str(config)
    )
    assert said == "The certificate's file nowhere.pem cannot be read: No such file or directory."


def test_settings_of_the_line_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    authority = Authority("authority")
    certificate, _ = authority.certificate(tmp_path, "ours")
    _, other_key = authority.certificate(tmp_path, "other")
    wrong: list[tuple[dict[str, str], str]] = [
        ({"nfc_tls_key": other_key}, "no certificate"),
        ({"nfc_tls_client_ca": certificate}, "no certificate"),
        ({"nfc_tls_certificate": certificate}, "no key"),
        ({"nfc_tls_certificate": certificate, "nfc_tls_key": other_key}, "cannot be used with its key"),
    ]
    for settings, reason in wrong:
        with pytest.raises(OperatorError, match=reason):
            tls_settings(Settings(**settings))  # pyright: ignore[reportArgumentType]  (each of them is a text)
    peers = tmp_path / "peers.toml"
    for text, reason in (
        ('[peers.acquirer]\nnetworks = ["10.0.0.0/99"]\n', "peers.toml, line 2: peers.acquirer.networks"),
        ('[peers.acquirer]\nnetwork = "10.0.0.0/8"\n', "peers.toml, line 2: peers.acquirer.network: unknown key"),
        ('[peers.acquirer]\nnetworks = ["::1"]\nsubjects = ["them"]\n', "set nfc_tls_client_ca"),
        ("[peers]\n", "nobody could connect"),
    ):
        peers.write_text(text)
        with pytest.raises(OperatorError, match=reason):
            peers_of(Settings(nfc_peers=str(peers)))
    peers.write_text('[peers.acquirer]\nnetworks = ["10.0.0.0/8", "::1"]\n')
    assert [(each.name, len(each.networks)) for each in peers_of(Settings(nfc_peers=str(peers)))] == [("acquirer", 2)]
