PYTHON_EGG_CACHE=@DIRECTORY@;
export PYTHON_EGG_CACHE;
@ZONE@
# For a script of sh, which gets the egg cache and its time zone by it. Written by `eggcache wrapper`.
#
# Where:  eval "$(eggcache wrapper DIR --for shell)"
# After:  start in the same script what needs the cache.
#
# Nothing here prepares the cache. The line before it can:
#   @COMMAND@ || exit
