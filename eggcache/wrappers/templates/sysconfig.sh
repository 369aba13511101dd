# shellcheck shell=sh disable=SC1003,SC2016,SC2089,SC2090
# The egg cache of Red Hat's Apache. Written by `eggcache wrapper`.
#
# Where:  at the end of /etc/sysconfig/httpd. RHEL 6 reads that as a script, RHEL 7 by systemd: each line is for both,
#         or for the first alone and no assignment in the eyes of the second.
# After:  service httpd stop; service httpd start
#
# A reload changes no environment.
@if COMMAND@
# Nothing here can prepare the cache. Run this before Apache starts, and again for each new egg:
#   @COMMAND@
@else@
# The cache comes in an archive (eggcache archive): a new egg is a new archive, to be extracted before Apache starts.
@end@
PYTHON_EGG_CACHE=@DIRECTORY@
export PYTHON_EGG_CACHE
# pkg_resources compares local times: Apache must have the zone that the cache was prepared for.
@ZONE@
