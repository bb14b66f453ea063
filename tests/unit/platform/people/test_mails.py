"""Every mail says the same twice, as plain text and as a page that brings nothing from elsewhere and runs nothing."""

import html
import re
from pathlib import Path

import pytest

from app.platform.people.ports import Mail
from app.platform.people.service import mail

TEMPLATES = Path(mail.__file__).parents[1] / "templates"
MAILS = sorted(path.stem for path in TEMPLATES.glob("*.txt"))
LINK = "https://mandi.example/verify?token=abc-_123"
HOSTILE = '<script>alert("1")</script>'


def _written(template: str, to: str = "asha@example.com", **changed: str) -> Mail:
    facts = {"link": LINK, "tenant": "Acme", "role": "trader", "until": "3 December 2026, 09:15 UTC"}
    return mail.write_mail(template, to, **facts | changed)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w@.']*\w", text))


def test_there_are_mails_and_each_has_both_forms() -> None:
    assert "invitation" in MAILS and len(MAILS) == 5
    assert sorted(path.name for path in TEMPLATES.glob("*.mail.html")) == sorted(
        f"{name}.mail.html" for name in [*MAILS, "layout"]
    )


@pytest.mark.parametrize("template", MAILS)
def test_the_page_says_what_the_text_says(template: str) -> None:
    found = _written(template)
    shown = html.unescape(re.sub(r"<style>.*</style>|<[^>]+>", " ", found.html, flags=re.DOTALL))
    assert _words(found.text) | _words(found.subject) <= _words(shown)
    assert LINK in found.text and LINK in shown


@pytest.mark.parametrize("template", MAILS)
def test_the_page_leads_to_its_link_alone_and_loads_nothing(template: str) -> None:
    found = _written(template, link=f"{LINK}&next=x").html
    assert re.findall(r'href="([^"]*)"', found) == [html.escape(f"{LINK}&next=x")]
    assert not re.search(r"<(script|img|link|iframe|form|object)\b|\bsrc=|url\(|@import|@font-face", found)
    assert '<meta name="viewport"' in found and "max-width: 560px" in found


@pytest.mark.parametrize("template", MAILS)
def test_a_name_with_markup_in_it_arrives_as_it_was_typed(template: str) -> None:
    found = _written(template, f"{HOSTILE}@example.com", tenant=HOSTILE, role=HOSTILE, until=HOSTILE, link=HOSTILE)
    assert "<script" not in found.html and '"1"' not in found.html
    assert html.escape(HOSTILE, quote=False).replace('"', "&#34;") in found.html
    assert HOSTILE in found.text and "&lt;" not in found.text
