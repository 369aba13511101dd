"""What runs on this host before the target does, which looks like a server itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eggcache.proof.application import Application
from eggcache.servers import apache, apache_configuration, application_servers, environment_variables, server_locale
from eggcache.servers.application_servers import ApplicationServer
from eggcache.servers.environment_variables import Environment
from eggcache.target.interpreter import Target


@dataclass(frozen=True)
class Beforehand:
    """The servers that ran then."""

    serving: tuple[list[Environment], list[Environment]]  # see environment_variables.serving
    servers: Sequence[ApplicationServer]  # all that run the target
    locale: server_locale.Locale | None  # of the server, unless Apache's configuration or its unit has another one


def look(cache: str | None, target: Target, application: Application) -> Beforehand:
    """Look at the servers of this host.

    :param cache: the egg cache; None where there is none
    :param target: the Python whose eggs are meant
    :param application: what the administrator says of the server
    """
    serving = environment_variables.serving(target.account, cache, application.pid_file)
    servers = application_servers.running(target) if application.server not in ("apache", "none") else ()
    host = apache.unasked(application.apachectl) if application.server in (None, "apache") else apache.Apache()
    locale = server_locale.locale_of(host, apache_configuration.Configuration(), serving)
    return Beforehand(serving, list(servers), locale)
