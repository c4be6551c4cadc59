"""The check of the built pages' links: what it finds, and what it lets pass."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from links import problems

sys.path.pop(0)


@pytest.fixture
def check(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "page.html").write_text('<h1 id="top">Other</h1>')
    (tmp_path / "picture.png").write_bytes(b"")

    def check(html):
        (tmp_path / "index.html").write_text(f'<h1 id="here">This</h1>{html}')
        return problems(tmp_path)

    return check


@pytest.mark.parametrize(
    "link",
    ["#here", "other/page.html", "other/page.html#top", "https://www.kernel.sh/docs", "data:image/png;base64,AA"],
)
def test_good_link_passes_the_check(check, link):
    assert check(f'<a href="{link}">x</a><img src="picture.png">') == []


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("#gone", "leads to no place in index.html"),
        ("other/page.html#gone", "leads to no place in page.html"),
        ("gone.html", "leads to no file"),
        ("other/", "leads to no file"),
        ("http://www.kernel.sh", "does not begin with https://"),
        ("https://kernel", "is no whole address"),
        ("https://www.kernel.sh/docs).", "is no whole address"),
    ],
)
def test_bad_link_is_reported_with_its_reason(check, link, wrong):
    assert check(f'<a href="{link}">x</a>') == [f"index.html: the link {link!r} {wrong}"]


def test_missing_picture_is_reported(check):
    assert len(check('<img src="gone.png">')) == 1
