"""What WhatsApp makes of a text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus.templates.markup import to_html, to_terminal


@pytest.mark.parametrize(
    ("text", "html"),
    [
        pytest.param("plain", "<p>plain</p>", id="plain"),
        pytest.param(
            "*bold* _italic_ ~strike~", "<p><strong>bold</strong> <em>italic</em> <s>strike</s></p>", id="marks"
        ),
        pytest.param("```mono``` `code`", "<p><code>mono</code> <code>code</code></p>", id="code"),
        pytest.param("*bold and _both_*", "<p><strong>bold and <em>both</em></strong></p>", id="nested"),
        pytest.param("3 * 4 * 5", "<p>3 * 4 * 5</p>", id="spaces-inside"),
        pytest.param("snake_case_name", "<p>snake_case_name</p>", id="within-a-word"),
        pytest.param("*open", "<p>*open</p>", id="not-closed"),
        pytest.param("**", "<p>**</p>", id="nothing-inside"),
        pytest.param("*a\nb*", "<p>*a<br>b*</p>", id="over-a-line"),
        pytest.param("(*bold*),", "<p>(<strong>bold</strong>),</p>", id="beside-punctuation"),
        pytest.param("```*no*\n_mark_```", "<p><code>*no*\n_mark_</code></p>", id="marks-in-code"),
        pytest.param("- a\n- b\nc", "<ul><li>a</li><li>b</li></ul><p>c</p>", id="bullets"),
        pytest.param("* a", "<ul><li>a</li></ul>", id="bullet-of-a-star"),
        pytest.param("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>", id="numbers"),
        pytest.param("7. a", '<ol start="7"><li>a</li></ol>', id="numbers-from-seven"),
        pytest.param("> a\n> b", "<blockquote>a<br>b</blockquote>", id="quote"),
        pytest.param("<b>&\"'", "<p>&lt;b&gt;&amp;&quot;&#x27;</p>", id="html"),
        pytest.param("*<script>*", "<p><strong>&lt;script&gt;</strong></p>", id="html-in-bold"),
        pytest.param("a\0b", "<p>a\ufffdb</p>", id="null"),
    ],
)
def test_as_html(text: str, html: str) -> None:
    assert to_html(text) == html


@given(st.text(alphabet=st.sampled_from("*_~`->1. \nab<&\"'\0\u202e\U0001f6b2"), max_size=60))
def test_no_text_makes_an_element_of_its_own(text: str) -> None:
    html = to_html(text)
    tags = set(re.findall(r"<[^>]*>", html))
    known = r"</?(p|strong|em|s|code|ul|ol|li|blockquote|br)>|<ol start=\"\d+\">"
    assert all(re.fullmatch(known, tag) for tag in tags)
    # Every element is closed in order.
    stack: list[str] = []
    for closing, name in re.findall(r"<(/?)([a-z]+)[^>]*>", html):
        if name == "br":
            continue
        if closing:
            assert stack.pop() == name
        else:
            stack.append(name)
    assert stack == []


@given(st.text(alphabet=st.sampled_from("*_~ ab"), max_size=40))
def test_a_terminal_shows_every_letter(text: str) -> None:
    assert [c for c in to_terminal(text, colours=False) if c in "ab"] == [c for c in text if c in "ab"]


def test_a_terminal_shows_lists_and_bold() -> None:
    assert to_terminal("*a*\n- b\n1. c\n> d", colours=True) == "\x1b[1ma\x1b[22m\n• b\n1. c\n▎ d"
    assert to_terminal("*a* ~b~", colours=False) == "a b"


def test_many_marks_take_no_time() -> None:
    assert to_html("*" * 4000)
    assert to_html("*a " * 1300)
