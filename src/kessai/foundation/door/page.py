"""`/docs`: the OpenAPI document as one self-contained page, made on the server, without scripts or outside parts."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import msgspec

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
h2{margin-top:2.5rem;border-bottom:1px solid #ddd}details{margin:.4rem 0;padding:.3rem .6rem;background:#f6f7f8}
summary{cursor:pointer}code,pre{font:13px/1.4 ui-monospace,monospace}b.m{display:inline-block;width:4rem;color:#0a5}
pre{background:#fff;padding:.6rem;overflow:auto;max-height:30rem}td{padding:0 1rem 0 0;vertical-align:top}
"""


def docs_page(document: bytes) -> bytes:
    """The page of an OpenAPI document."""
    api: dict[str, Any] = msgspec.json.decode(document)
    parts = [f"<h1>{escape(api['info']['title'])}</h1><p>{escape(api['info']['summary'])}"]
    parts.append(' The whole contract: <a href="/openapi.json">/openapi.json</a>.</p>')
    for tag in api["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>")
        for path, operations in api["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    parts.append(_operation(method.upper(), path, operation, api["components"]["responses"]))
    parts.append("<h2>Schemas</h2>")
    for name, schema in api["components"]["schemas"].items():
        parts.append(f'<details id="{escape(name)}"><summary>{escape(name)}</summary>{_json(schema)}</details>')
    head = f'<meta charset="utf-8"><title>{escape(api["info"]["title"])}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'.encode()


def _operation(method: str, path: str, operation: dict[str, Any], shared: dict[str, Any]) -> str:
    title = f'<b class="m">{method}</b><code>{escape(path)}</code> {escape(operation["summary"])}'
    rows = "".join(
        f"<tr><td>{status}</td><td>{escape({**shared.get(status, {}), **answer}['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    body = f"<h4>Body</h4>{_json(operation['requestBody'])}" if "requestBody" in operation else ""
    parameters = f"<h4>Parameters</h4>{_json(operation['parameters'])}"
    return (
        f'<details id="{escape(operation["operationId"])}"><summary>{title}</summary>'
        f"<p>{_prose(operation['description'])}</p>{parameters}{body}<h4>Answers</h4><table>{rows}</table></details>"
    )


def _prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _json(value: object) -> str:
    text = escape(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
    linked = re.sub(r"(#/components/schemas/)(\w+)", r'<a href="#\2">\2</a>', text)
    return f"<pre>{linked}</pre>"
