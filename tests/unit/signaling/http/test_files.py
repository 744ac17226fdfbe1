"""The page's files: their names, their hashes, what is sent of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from signaling.http.files import Files, find_type, modules_of, shorten
from signaling.http.page import find_static

PAGE = """<script type="module" src="static/js/main.js"></script>
<link rel="stylesheet" href="static/css/base.css">"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "index.html": PAGE,
        "js/main.js": "/** Why. */\nimport { a } from './view/a.js';\nexport const page = a;\n",
        "js/view/a.js": "import {\n  b,\n} from '../b.js';\nexport const a = b;\n",
        "js/b.js": "export const b = 1;\n" * 40,
        "css/base.css": "a { color: red; }\n" * 40,
        "icon.png": "\x89PNG" * 100,
        ".hidden": "secret",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_page_leads_to_names_that_are_good_for_ever(root: Path) -> None:
    files = Files(root)
    page = files.find("index.html")
    assert page is not None
    assert not page.forever
    text = page.body.decode()
    assert f'src="static/@{files.version}/js/main.js"' in text
    assert f'href="static/@{files.version}/css/base.css"' in text
    for name in ("main.js", "view/a.js", "b.js"):
        assert f'<link rel="modulepreload" href="static/@{files.version}/js/{name}">' in text
    hashed = files.find(f"@{files.version}/css/base.css")
    assert hashed is not None
    assert hashed.forever


def test_another_content_has_another_name(root: Path) -> None:
    before = Files(root).version
    assert Files(root).version == before
    (root / "js/b.js").write_text("export const b = 2;\n")
    after = Files(root)
    assert after.version != before
    assert after.find(f"@{before}/js/b.js") is None


def test_a_module_by_its_plain_name_passes_on_what_the_hashed_one_exports(root: Path) -> None:
    files = Files(root)
    plain = files.find("js/main.js")
    assert plain is not None
    assert plain.body == f"export * from '../@{files.version}/js/main.js';\n".encode()
    assert not plain.forever


def test_texts_are_compressed_once_and_pictures_are_not(root: Path) -> None:
    files = Files(root)
    style, picture = files.find("css/base.css"), files.find("icon.png")
    assert style is not None
    assert style.compressed is not None
    assert gzip.decompress(style.compressed) == style.body
    assert picture is not None
    assert picture.compressed is None


def test_what_is_hidden_or_outside_is_not_there(root: Path) -> None:
    files = Files(root)
    for name in (".hidden", "../pyproject.toml", "", "js", "js/", "none", "\0"):
        assert files.find(name) is None, name


def test_comments_are_left_out_and_lines_keep_their_numbers() -> None:
    module = (
        "/**\n * Why.\n */\nconst a = 1; // ms\n  // More.\n"
        "  /** @type {any} */ let b = '/* none */';\n/* c */\nconst d = 'http://a'; // a `b`\n"
    )
    assert shorten(module.encode()).decode() == (
        "\n\n\nconst a = 1;\n\nlet b = '/* none */';\n\nconst d = 'http://a'; // a `b`\n"
    )


def test_all_that_the_page_imports_is_announced() -> None:
    root = find_static()
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.js")}
    named = set(modules_of(found))
    assert {"js/main.js", "js/i18n.js", "js/view/lobby.js", "js/signaling.js"} <= named
    assert "js/view/callview.js" not in named  # comes when the lobby is there


def test_types_are_what_browsers_insist_on() -> None:
    assert find_type("a.js").startswith("text/javascript")
    assert find_type("a.wasm") == "application/wasm"
    assert find_type("a") == "application/octet-stream"
