"""Decides how the reference pages for developers look: `/errors` and `/events`. No script, nothing from elsewhere."""

from fastapi.responses import HTMLResponse

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
CACHED = {"Cache-Control": "max-age=3600"}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;"
    "background:#fff}code{font-family:ui-monospace,monospace}h2{margin:2rem 0 .25rem;font-size:1.1rem}"
    "section:target{background:#fff6d6;outline:.5rem solid #fff6d6}.meta{color:#57606a;margin:0}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}.meta{color:#9aa4af}"
    "section:target{background:#2a2410;outline-color:#2a2410}}"
)


def document(title: str, *, introduction: str, sections: str) -> str:
    """One page; `introduction` and `sections` are HTML."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Mandi: {title.lower()}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>{introduction}</p>{sections}</body></html>"
    )


def answer(page: str) -> HTMLResponse:
    """The page, with the headers of all of them."""
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY, **CACHED})
