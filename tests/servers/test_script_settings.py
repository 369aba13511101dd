"""What a script sets is read off its text, whichever Python's it is, and what runs it agrees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eggcache.servers import script_settings

CACHE, ZONE = "PYTHON_EGG_CACHE", "TZ"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nos.environ['PYTHON_EGG_CACHE'] = '/eggs'\n", [(CACHE, "/eggs", 2)]),
        ("from os import environ\nenviron[\"PYTHON_EGG_CACHE\"] = u'/eggs'\n", [(CACHE, "/eggs", 2)]),
        ("import os as o\no.environ['TZ'] = o.environ['PYTHON_EGG_CACHE'] = '/x'\n",
         [(ZONE, "/x", 2), (CACHE, "/x", 2)]),
        ("import os\nHERE = os.path.dirname(os.path.abspath(__file__))\n"
         "os.environ['PYTHON_EGG_CACHE'] = os.path.join(HERE, 'a') + '/b'\n", [(CACHE, "{here}/a/b", 3)]),
        ("import os\nos.putenv('TZ', 'Asia/Tokyo')\n", [(ZONE, "Asia/Tokyo", 2)]),
        ("import os\nos.environ.update({'PYTHON_EGG_CACHE': '/a'}, TZ='UTC')\n", [(ZONE, "UTC", 2), (CACHE, "/a", 2)]),
        ("import os\nos.environ.setdefault('PYTHON_EGG_CACHE', '/a')\nos.environ.setdefault('TZ', 'UTC')\n",
         [(ZONE, "UTC", 3)]),
        ("import os\nname = 'PYTHON_EGG_CACHE'\nos.environ[name] = chosen = '/a'\n", [(CACHE, "/a", 3)]),
        ("import os\nx = '/a'\nx = '/b'\nos.environ['PYTHON_EGG_CACHE'] = x\n", [(CACHE, None, 4)]),
        ("import os, sys\nos.environ['PYTHON_EGG_CACHE'] = sys.prefix + '/e'\n", [(CACHE, None, 2)]),
        ("import pkg_resources\npkg_resources.set_extraction_path('/eggs')\n", [(CACHE, "/eggs", 2)]),
        ("from pkg_resources import set_extraction_path as choose\nchoose('/eggs')\n", [(CACHE, "/eggs", 2)]),
        # of a request, and what only looks like it
        ("def application(environ, start):\n    environ['PYTHON_EGG_CACHE'] = '/x'\n", []),
        ("from os import environ\ndef application(environ, start):\n    environ['PYTHON_EGG_CACHE'] = '/x'\n", []),
        ("import os\n# os.environ['PYTHON_EGG_CACHE'] = '/x'\nprint(os.environ.get('PYTHON_EGG_CACHE', '/x'))\n", []),
        ("import os\nif os.environ.get('TZ') == 'x': pass\ndef set_extraction_path(path): pass\n", []),
        # Python 2's, by line
        ("import os\nprint 'hello'\nos.environ['PYTHON_EGG_CACHE'] = '/eggs'  # here\n", [(CACHE, "/eggs", 3)]),
        ("import os\nprint 'hello'\n#os.environ['PYTHON_EGG_CACHE'] = '/eggs'\nif os.environ['TZ'] == 'x': pass\n", []),
        ("print 'x'\nos.environ['PYTHON_EGG_CACHE'] = os.path.join(HERE, 'x')\nos.putenv('TZ', 'UTC')\n",
         [(CACHE, None, 2), (ZONE, "UTC", 3)]),
        ("print 'x'\npkg_resources.set_extraction_path(\"/eggs\")\ndef set_extraction_path(x): pass\n",
         [(CACHE, "/eggs", 2)]),
        # no path is that long, and a few more lines would fill the memory
        ("import os\nx0 = '/aaaaaaa'\n" + "".join(f"x{n} = x{n - 1} + x{n - 1}\n" for n in range(1, 12))
         + "os.environ['TZ'] = x11\n", [(ZONE, None, 14)]),
        ("import os\n\ny = '/x\\0y'\nos.environ['PYTHON_EGG_CACHE'] = y\nos.environ['TZ'] = '\\ud800'\n"
         "os.environ['TZ'] = os.path.realpath('/\\0')\n", [(CACHE, None, 4), (ZONE, None, 5), (ZONE, None, 6)]),
        ("os.environ['PYTHON_EGG_CACHE'] = '/x\0y'\nprint 'x'\n", [(CACHE, None, 1)]),
        ("import os\nx = '" + "a" * 4000 + "'\nos.environ['TZ'] = os.path.join(" + "x, " * 9 + "x)\n",
         [(ZONE, None, 3)]),
        ("(" * 5000 + "\nos.environ['TZ'] = 'UTC'\n", [(ZONE, "UTC", 2)]),
        ("\0\nos.environ['TZ'] = 'UTC'\n", [(ZONE, "UTC", 2)]),
    ],
)  # fmt: skip
def test_each_line_that_sets_something_is_found(
    text: str, expected: list[tuple[str, str | None, int]], tmp_path: Path
) -> None:
    """Each line that sets something is found with its value, as far as the text has it; nothing else is. What runs the
    script ends with these values."""
    script = tmp_path / "app.wsgi"
    settings, parsed = script_settings.settings(str(script), text)
    wanted = [(name, value and value.format(here=tmp_path), line) for name, value, line in expected]
    assert [(item.name, item.value, item.line) for item in settings] == wanted
    assert parsed == ("print 'x'" not in text and "hello" not in text and text[0] not in "(\0")
    known = {name: value for name, value, _ in wanted if value is not None}
    if parsed and known and "pkg_resources" not in text and "putenv" not in text:
        script.write_text(
            f"{text}\nprint([os.environ[n] for n in {sorted(known)!r}])".replace("[os.", "[__import__('os').")
        )
        result = subprocess.run([sys.executable, str(script)], env={}, capture_output=True, text=True, check=True)
        assert result.stdout == f"{[known[name] for name in sorted(known)]}\n"
