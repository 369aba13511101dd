"""gearbox quickstart on zipped eggs: what the page has somebody run, and what that prevents."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from support import ROOT, deployment
from support.deployment import Deployment
from support.judge import as_json, eggcache, environment

PAGE = ROOT / "docs" / "howto" / "turbogears2-quickstart.rst"


def test_quickstart_needs_its_templates_unzipped(
    turbogears2_27: Deployment, copy_of: Callable[[Deployment], Deployment], shared_tmp: Path
) -> None:
    """gearbox quickstart lists a directory in a zip, and leaves an empty one that stops the next, as the page says.
    With that gone, the first commands of the page, one after the other, make an application that is imported."""
    made = copy_of(turbogears2_27)
    deployment.install_zipped(made, "tg_devtools")
    assert {"tg.devtools-2.3.12-py2.7.egg", "gearbox-0.1.1-py2.7.egg"} <= {egg.name for egg in made.eggs}

    def run(script: str) -> subprocess.CompletedProcess[str]:
        program = f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m eggcache"
        variables = {"HOME": str(shared_tmp), "PYTHON_EGG_CACHE": str(shared_tmp / "cache")}
        return subprocess.run(
            ["sh", "-ec", f'eggcache() {{ {program} "$@"; }}\n{script}'],
            cwd=shared_tmp,
            env=environment(variables),
            capture_output=True,
            text=True,
            check=False,
        )

    commands = PAGE.read_text(encoding="utf-8").split(".. code-block:: sh\n\n")[1].split("\n\n")[0]
    commands = commands.replace("/srv/tg2", str(made.root))
    (quickstart,) = [line for line in commands.splitlines() if "gearbox quickstart" in line]
    failed = run(quickstart)
    assert failed.returncode != 0
    assert "OSError: [Errno 20] Not a directory" in failed.stderr
    assert list((shared_tmp / "shop").iterdir()) == []
    assert "already exists" in run(quickstart).stdout
    assert list((shared_tmp / "shop").iterdir()) == []
    (shared_tmp / "shop").rmdir()
    result = run(commands)
    assert result.returncode == 0, result.stderr
    assert "Downloading" not in result.stdout
    assert (made.site_packages / "tg.devtools-2.3.12-py2.7.egg").is_dir()
    imported = made.run(
        "import shop.config.middleware as m; print(m.__file__)", env={"PYTHON_EGG_CACHE": "/nonexistent"}
    )
    assert imported.stdout.startswith(f"{shared_tmp}/shop/shop/")


def test_what_needs_babel_and_tw2_unzipped(
    turbogears2_27: Deployment, copy_of: Callable[[Deployment], Deployment], shared_tmp: Path
) -> None:
    """Babel's locale data, and tw2.forms, are not found in a zip, whatever the cache; prepare names both eggs, and what
    it says to run ends it."""
    made, cache = copy_of(turbogears2_27), shared_tmp / "cache"
    said = as_json(eggcache("prepare", cache, "--python", made.python, "--json"))
    remedies = {
        Path(f["thing"]).name.split("-")[0]: f["command"] for f in said["findings"] if f["code"] == "not-zip-safe"
    }
    for project, code in {
        "Babel": "import babel; babel.Locale('en').territories['DE']",
        "tw2.forms": "import tw2.forms",
    }.items():
        failed = made.run(code, env={"PYTHON_EGG_CACHE": str(cache)}, check=False)
        assert f"OSError: [Errno 20] Not a directory: '{made.site_packages}/{project}-" in failed.stderr
        result = eggcache(*shlex.split(remedies[project])[1:])
        assert result.returncode == 0, result.stderr
        made.run(code, env={"PYTHON_EGG_CACHE": str(cache)})
