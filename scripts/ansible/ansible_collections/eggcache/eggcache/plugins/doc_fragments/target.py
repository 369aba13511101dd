"""What the modules' documentation has in common: the command, the target, and how it ends."""

from __future__ import annotations


class ModuleDocFragment:
    """Options and notes, by the name under which a module's C(extends_documentation_fragment) asks for them."""

    DOCUMENTATION = r"""
options:
  executable:
    description:
      - The eggcache command on the host, a path or a name to look for in its PATH.
    type: str
    default: eggcache
  requirements:
    description:
      - The roots of the tree, as pkg_resources reads requirements. Empty means everything that the target can import.
    type: list
    elements: str
    default: []
  all:
    description:
      - As without requirements, and name what any distribution on the target's path lacks.
    type: bool
    default: false
  python:
    description:
      - The target, which is the Python whose eggs are meant and which Apache embeds.
      - Without it, the C(EGGCACHE_PYTHON) of the task's environment counts.
    type: path
  path:
    description:
      - Directories in front of the target's path, as mod_python's PythonPath adds them.
    type: list
    elements: path
    default: []
notes:
  - Runs the eggcache command on the host and takes its JSON. eggcache has to be installed there, which the role
    P(eggcache.eggcache.eggcache#role) does.
  - In check mode, where eggcache itself is not on the host yet, nothing can be asked. The modules that write then say
    that they would change something, and the others that they were skipped.
requirements:
  - eggcache on the host, which needs CPython 3.9 or newer
author:
  - The eggcache developers (!UNKNOWN)
"""

    LENIENT = r"""
options:
  lenient:
    description:
      - What concerns single eggs or requirements (exit statuses 3 and 5 of eggcache) is a warning instead of a failure.
      - Other statuses always fail.
    type: bool
    default: false
"""

    WAIT = r"""
options:
  wait:
    description:
      - Seconds to wait for another run of eggcache that is at work on the same directory.
      - When it is still at work then, the task fails and RV(busy) is true. Retry with C(until), C(retries), C(delay).
    type: float
    default: 120
"""

    RUNTIME = r"""
options:
  user:
    description:
      - The user that Apache runs as. By default, what this host's Apache says.
    type: str
  group:
    description:
      - Its group. By default, the user's.
    type: str
  tz:
    description:
      - The TZ that Apache runs with. By default, that of the task's environment.
    type: str
"""
