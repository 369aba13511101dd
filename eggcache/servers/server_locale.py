"""The locale that a server runs in: what its process, its unit, its files and mod_wsgi's directives say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eggcache.servers import declared_environments
from eggcache.servers.apache import Apache, envvars_of
from eggcache.servers.apache_configuration import Configuration, options
from eggcache.servers.environment_variables import Environment
from eggcache.system import files
from eggcache.target import launch


@dataclass(frozen=True)
class Locale:
    """The locale that the server runs in."""

    values: dict[str, str]  # LANG, LANGUAGE and LC_*
    origin: str  # who says so
    embedded: bool  # whether it embeds its Python, as Apache does

    def variables(self) -> dict[str, str]:
        """What has a Python run in it as in the server: one that is embedded makes nothing better of the C locale
        (bpo-36443), as one that is a program does from 3.7 on (PEP 538, PEP 540)."""
        return {**self.values, **({"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"} if self.embedded else {})}


def locale_of(
    host: Apache,
    configuration: Configuration,
    serving: tuple[list[Environment], list[Environment]],
    servers: Sequence[Environment] = (),
) -> Locale | None:
    """The locale that the server of an account has, of those `serving` it; None where nobody tells.

    A server that runs says it first, the known `servers` of other kinds before others, then what starts this `host`'s
    Apache: its unit, and the file of variables that apachectl reads after that. mod_wsgi sets LANG and LC_ALL of its
    daemons (lang=, locale=) before Python starts.

    :param host: this host's Apache
    :param configuration: its configuration
    :param serving: what `environment_variables.serving` has found
    :param servers: the servers of other kinds that are known
    """
    others, apaches = serving
    served = [*servers, *others]
    first = next(iter(served or apaches), None)
    if first:
        values, origin = _of_locale(first.values), first.thing
    else:
        values, origin = _declared_locale(host)
    for name, option in (("LANG", "lang"), ("LC_ALL", "locale")):
        lines = list(configuration.named("WSGIDaemonProcess")) if not served else []
        settings = {options(line).get(option) for line in lines}
        if len(settings) == 1 and (value := settings.pop()):
            values[name], origin = value, lines[0].place
    return Locale(values, origin, embedded=not served) if origin else None


def _declared_locale(host: Apache) -> tuple[dict[str, str], str]:
    unit = host.starter
    values: dict[str, str | None] = dict(unit.environment) if unit else {}
    origin = unit.name if unit and _of_locale(values) else ""
    for name in (envvars_of(host.apachectl), "/etc/sysconfig/httpd") if host.apachectl else ():
        lines = files.lines(name)
        if any(re.fullmatch(r"\s*(?:\.|source)\s+/etc/default/locale\s*", line) for line in lines):
            lines = [*files.lines("/etc/default/locale"), *lines]
        assigned = declared_environments.assignments(lines, ("LANG", "LANGUAGE", "LC_[A-Z]+"))
        values.update(assigned)
        origin = name if assigned else origin
    return _of_locale(values), origin


def _of_locale(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None and launch.of_locale(name)}
