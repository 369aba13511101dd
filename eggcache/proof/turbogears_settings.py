"""What the settings of a TurboGears 1.x application do to it, looked up as its CherryPy 2 does: findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eggcache.eggs.decompression import label
from eggcache.model import Finding

Section = dict[str, Any]  # a value, or a section inside it

# cherrypy.config.environments of 2.3.0, as far as a finding is about it. An application without one is in development
_ENVIRONMENTS: Mapping[str, Section] = {
    "development": {"autoreload.on": True, "server.show_tracebacks": True},
    "staging": {"autoreload.on": False, "server.show_tracebacks": False},
    "production": {"autoreload.on": False, "server.show_tracebacks": False},
    "embedded": {"autoreload.on": False},
}
_ENVIRONMENT = "server.environment"


def findings(path: str, config: Section, location: str | None) -> Iterator[Finding]:
    """What is wrong with the settings `config` of the file `path`.

    :param location: the path under which the application is served; None: not known
    """
    settings = {name: value for name, value in config.items() if not isinstance(value, dict)}  # those are global too
    at_root, settings = section(config, "/"), settings | section(config, "global")
    yield from _environments(path, config | {"global": settings})
    yield from _tracebacks(path, at_root, settings)
    if _setting("autoreload.on", settings)[0]:
        cause = "is on" if "autoreload.on" in settings else "is not set there, and development has it on"
        cause = f"autoreload.on {cause}: under Apache the application ends while it starts"
        yield Finding("autoreload-on", path, cause, "set autoreload.on = False in [global]")
    yield from _base_url(path, at_root, settings)
    webpath = settings.get("server.webpath")
    if location is not None and webpath:  # without one, the launcher that eggcache writes sets it
        where = "/" + location.strip("/")
        if "/" + str(webpath).strip("/") != where:  # TurboGears puts a slash in front by itself
            cause = (
                f"server.webpath is not {label(where)}, where the application is: under mod_python every page is a 404"
            )
            # TurboGears then goes on with the path as it came, which nobody has put anything in front of
            if where == "/":
                cause += ", unless a proxy sends X-Forwarded-Server"
            remedy = f'set server.webpath = "{label(where)}" in [global], where mod_python serves it'
            yield Finding("webpath-elsewhere", path, cause, remedy)


def _environments(path: str, config: Section) -> Iterator[Finding]:
    """What CherryPy refuses at its start, in whatever section. No value is shown: the file has a password."""
    for name in config:
        value = section(config, name).get(_ENVIRONMENT)
        if value and value not in tuple(_ENVIRONMENTS):
            cause = f"server.environment in [{label(name)}] is none that CherryPy has: the application does not start"
            yield Finding(
                "environment-unknown", path, cause, f'set server.environment = "production" in [{label(name)}]'
            )


def _tracebacks(path: str, at_root: Section, settings: Section) -> Iterator[Finding]:
    shown, place, name = _setting("server.show_tracebacks", settings, at_root)
    if not shown:
        return
    where = "[/]" if place is at_root else "[global]"
    if name != _ENVIRONMENT:
        cause, remedy = f"{name} is on", f"set {name} = False in {where}"
    else:
        cause = "is development" if name in place else "is not set there, which means development"
        cause, remedy = f"{name} {cause}", f'set {name} = "production" in {where}'
    yield Finding("not-production", path, f"{cause}: visitors see tracebacks", remedy)


def _base_url(path: str, at_root: Section, settings: Section) -> Iterator[Finding]:
    """The filter takes scheme and host of all redirects from base_url, where no proxy has sent X-Forwarded-Host."""
    on, url, forwarded = (
        _setting(f"base_url_filter.{name}", settings, at_root)[0] for name in ("on", "base_url", "use_x_forwarded_host")
    )
    if on and not url and not forwarded:
        cause = "base_url_filter.on is on without base_url_filter.base_url: unless a proxy sends X-Forwarded-Host, "
        cause += "redirects lead to another host, as localhost:8080"
        remedy = 'set base_url_filter.base_url in [global] to the scheme and host that visitors use, as "http://HOST"'
        yield Finding("base-url-missing", path, cause, remedy)


def _setting(name: str, settings: Section, at_root: Section | None = None) -> tuple[object, Section, str]:
    """A value by cherrypy.config.get, the section that it is from, and what it is called there.

    The section of the root, if any, counts before [global]; in each the older spelling counts first, and then what its
    environment says. What starts the application sees [global] alone.
    """
    first, *words = name.split("_")
    older = first + "".join(word[0].upper() + word[1:] for word in words)
    for place in (at_root or {}, settings):
        for spelling in (older, name):
            if spelling in place:
                return place[spelling], place, spelling
        environment = place.get(_ENVIRONMENT, "development" if place is settings else None)
        values = _ENVIRONMENTS.get(environment, {}) if isinstance(environment, str) else {}
        if name in values:
            return values[name], place, _ENVIRONMENT
    return None, settings, name


def section(config: Section, name: str) -> Section:
    """A section of a configuration, or of a section; {} where it has none of that name.

    :param config: what the section is in
    :param name: its name
    """
    value = config.get(name)
    return value if isinstance(value, dict) else {}
