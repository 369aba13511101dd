PYTHON_EGG_CACHE=@DIRECTORY@;
export PYTHON_EGG_CACHE;
@ZONE@
# For a script of sh, which gets the egg cache and its time zone by it. Written by `eggcache wrapper`.
#
@if COMMAND@
# Where:  eval "$(eggcache wrapper DIR --for shell)"
@else@
# Where:  in that script, or in a file that it reads: . FILE
@end@
# After:  start in the same script what needs the cache.
#
@if COMMAND@
# Nothing here prepares the cache. The line before it can:
#   @COMMAND@ || exit
@else@
# The cache comes in an archive (eggcache archive): a new egg is a new archive, to be extracted before it starts.
@end@
