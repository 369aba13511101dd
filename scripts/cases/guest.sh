# What each case has in its machine, before its own functions are called: the runner calls boot_1 in the first boot, and so on.
# A case says by `# boots:` what starts in each of its boots: `job`, this alone; `systemd`, all of it; `cut`, this alone, and the
# power is cut in the seconds after it says `begin SECONDS`; `cuts`, the same as often as is asked for. $boot is the boot's number,
# $last what the boot before it had said.
# Its data lie on a disk of their own, /dev/vdc, and what is written elsewhere in a machine without systemd is in memory.
set -u
mkdir -p /run/lock # systemd makes it, and apache2ctl needs it

# One line for each thing that is so, or is not; a case with a line of `not ok` has failed.
judge() {
    text=$1
    shift
    if output=$("$@" 2>&1); then
        echo "ok: $text"
    else
        echo "not ok: $text (status $?)"
        printf '%s\n' "$output" | sed 's/^/    /'
    fi
}

# That a command ends with this status and says this.
says() {
    status=$1 words=$2
    shift 2
    output=$("$@" 2>&1)
    got=$?
    printf '%s\n' "$output"
    case $output in *"$words"*) ;; *) return 99 ;; esac
    [ "$got" = "$status" ]
}

# A zipped egg at $1 whose files all say $2; it replaces another in one step.
egg() {
    python3 - "$1" "$2" <<'END'
import os, sys, zipfile

path, word = sys.argv[1:]
with zipfile.ZipFile(path + "~", "w", zipfile.ZIP_DEFLATED) as egg:
    egg.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: page\nVersion: 1.0\n")
    egg.writestr("EGG-INFO/top_level.txt", "page\n")
    egg.writestr("EGG-INFO/zip-safe", "\n")
    egg.writestr("page/__init__.py", "WORD = %r\n" % word)
    for number in range(60):
        egg.writestr("page/files/%02d.txt" % number, (word + "\n") * (1 + number * 100))
with open(path + "~", "r+b") as stream:
    os.fsync(stream.fileno())
os.rename(path + "~", path)
END
    sync
}

# That the account $1 gets every file of the egg in directory $2 from pkg_resources with cache $3, all with one word: it is
# printed. Nothing may be written, so an account that may write there sees no more than one that may not.
asked() {
    setpriv --reuid="$1" --regid="$1" --clear-groups env PYTHONPATH="$2/page-1.0-py3.11.egg" PYTHON_EGG_CACHE="$3" python3 - <<'END'
import pkg_resources

names = pkg_resources.resource_listdir("page", "files")
assert len(names) == 60, names
words = set()
for name in names:
    with open(pkg_resources.resource_filename("page", "files/" + name)) as stream:
        lines = stream.read().split("\n")
    assert lines.pop() == "" and len(lines) == 1 + int(name[:2]) * 100, name
    words.update(lines)
assert len(words) == 1, words
print(words.pop())
END
}
