#!/bin/sh
# Installs wheelyard from this clone as a service, or updates an installation to this clone:
#
#     sudo deploy/linux/install.sh
#
# Needs systemd, and Python 3.11 or newer with venv (Debian, Ubuntu: apt install python3-venv);
# PYTHON=/usr/bin/python3.13 chooses another than `python3`. Existing files in /etc/wheelyard are never changed.
#
# Each run makes a new environment in /opt/wheelyard.d. When it is complete and accepts these files, the link
# /opt/wheelyard points to it. The previous one is kept; to go back, change the link and restart.
set -eu
umask 022

here=$(cd -- "$(dirname -- "$0")" && pwd)
clone=$(cd -- "$here/../.." && pwd)
python=${PYTHON:-python3}
places=/opt/wheelyard.d
target=$places/$(date -u +%Y%m%dT%H%M%S)

say() { echo "install.sh: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# root runs every Python below: with -I, neither a venv.py in the working directory nor PYTHONPATH is used, also in
# programs that pip starts.
unset PYTHONHOME PYTHONPATH
[ "$(id -u)" = 0 ] || fail "type sudo before it: it makes a user and a service"
"$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    || fail "Python 3.11 or newer is needed; name one: sudo env PYTHON=/usr/bin/python3.13 $0"
"$python" -I -c 'import ensurepip, venv' 2>/dev/null \
    || fail "this Python has no venv; install it (apt install python3-venv)"
if [ -e /opt/wheelyard ] && [ ! -L /opt/wheelyard ]; then
    fail "/opt/wheelyard is there already, and not from here; move it away"
fi
command -v setpriv >/dev/null || fail "setpriv is missing; install util-linux"

work=$(mktemp -d)
is_done=
clean_up() {
    rm -rf "$work"
    [ -n "$is_done" ] || rm -rf "$target"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

if ! getent passwd wheelyard >/dev/null; then
    say "making the user wheelyard"
    # Some Linux distributions keep the group when the user is removed, so it may exist.
    getent group wheelyard >/dev/null || groupadd --system wheelyard
    useradd --system --gid wheelyard --home-dir /var/lib/wheelyard --no-create-home \
        --shell /usr/sbin/nologin wheelyard
fi

say "installing into $target"
mkdir -p "$places"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PIP_USER=0
export PYTHONDONTWRITEBYTECODE=1
"$python" -I -m venv "$work/tools"
"$python" -I -m venv --without-pip "$target"
pip() { "$work/tools/bin/python" -Im pip --quiet "$@"; }
pip install --only-binary=:all: --require-hashes --requirement "$clone/requirements/build.txt"
pip --python "$target/bin/python" install --only-binary=:all: --no-compile --require-hashes \
    --requirement "$clone/requirements/otel.txt"
# The build backend writes beside the source, so it builds a copy of the clone.
mkdir "$work/source"
cp -R "$clone/pyproject.toml" "$clone/README.md" "$clone/LICENSE" "$clone/docs" "$clone/src" "$work/source/"
pip wheel --no-index --no-deps --no-build-isolation --wheel-dir "$work/dist" "$work/source"
pip --python "$target/bin/python" install --no-compile --no-index --no-deps "$work"/dist/*.whl
"$target/bin/python" -Im compileall -q "$target/lib"

# The service cannot read a Python in a home folder.
setpriv --reuid=wheelyard --regid=wheelyard --clear-groups -- "$target/bin/wheelyard" --version >&2 \
    || fail "the user wheelyard cannot run it: is $("$python" -I -c 'import sys; print(sys.base_prefix)') open to all?"

install -d -m 750 -o root -g wheelyard /etc/wheelyard
if [ ! -e /etc/wheelyard/wheelyard.toml ]; then
    install -m 640 -o root -g wheelyard "$here/wheelyard.toml" /etc/wheelyard/wheelyard.toml
    say "the settings are in /etc/wheelyard/wheelyard.toml"
fi
if [ ! -e /etc/wheelyard/index.toml ]; then
    install -m 640 -o root -g wheelyard "$here/index.toml" /etc/wheelyard/index.toml
    say "what describes the index is in /etc/wheelyard/index.toml"
fi
install -d -m 750 -o wheelyard -g wheelyard /var/lib/wheelyard
# The user may have had another number in an earlier installation. A separate disk has root's lost+found.
stranger=$(find /var/lib/wheelyard -mindepth 1 -maxdepth 1 ! -user wheelyard ! -name lost+found -print -quit)
[ -z "$stranger" ] || say "$stranger is not the user wheelyard's; if it is of the store: chown -R wheelyard: /var/lib/wheelyard"

# The new version has to accept both files before the link points to it. The first time it also creates a token: else
# the server would create one, and print it into the log.
sed "s|/opt/wheelyard/bin/|$target/bin/|" "$here/wheelyard" >"$work/wheelyard"
if grep -Eq '^[[:space:]]*\[+[[:space:]]*(main|index|groups|grant|publisher|retention)[[:space:]]*[].]' /etc/wheelyard/wheelyard.toml; then
    say "/etc/wheelyard/wheelyard.toml has tables that describe the index, so all is as it was;"
    fail "move [main], [[index]], [groups], [[grant]], [[publisher]] and [[retention]] into /etc/wheelyard/index.toml, and run this again"
fi
sh "$work/wheelyard" config check >/dev/null \
    || fail "these settings stop what would be installed, so all is as it was; mend what the line above says, and run this again"
planned=$(sh "$work/wheelyard" apply /etc/wheelyard/index.toml --dry-run 2>&1) || case $planned in
    *"There is no store"*) ;; # it is made below, or by the server
    *)
        say "$planned"
        fail "this file stops what would be installed, so all is as it was; mend what the line above says, and run this again"
        ;;
esac
before=$(readlink /opt/wheelyard || true)
if [ -z "$before" ]; then
    sh "$work/wheelyard" token create first --can read,upload,manage \
        || fail "there is no first token, so nothing is installed; mend what the line above says, and run this again"
    say "that is the first token; it is shown this once"
fi

install -d /usr/local/bin /etc/systemd/system
install -m 755 "$here/wheelyard" /usr/local/bin/wheelyard
install -m 644 "$here/wheelyard.service" /etc/systemd/system/wheelyard.service
# sudo of RHEL searches /usr/bin, not /usr/local/bin.
if grep -Ehs '^[^#]*secure_path' /etc/sudoers /etc/sudoers.d/* | grep -qv /usr/local/bin && [ ! -e /usr/bin/wheelyard ]; then
    ln -sfn /usr/local/bin/wheelyard /usr/bin/wheelyard || say "sudo does not find it: type sudo /usr/local/bin/wheelyard"
fi

# Replaced atomically.
ln -sfn "$target" "$places/.next"
mv -T "$places/.next" /opt/wheelyard
is_done=yes
# Remove all environments but the current and the previous one, only after the new version runs.
tidy() {
    for each in "$places"/*; do
        [ "$each" = "$target" ] || [ "$each" = "$before" ] || rm -rf "$each"
    done
}

if [ ! -d /run/systemd/system ]; then
    tidy
    say "done; systemd does not run here, so nothing was started"
    exit 0
fi
systemctl daemon-reload
systemctl enable --quiet wheelyard
is_dead() {
    [ -z "$before" ] || say "to go back: sudo ln -sfn $before /opt/wheelyard && sudo systemctl restart wheelyard"
    fail "it is installed, and does not run; why, says: journalctl --unit wheelyard --lines 50"
}
systemctl restart wheelyard || is_dead
# systemd reports it as running once there is a process. Errors such as a port in use come some moments later.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    systemctl is-active --quiet wheelyard || is_dead
done
tidy
say "done; it runs: systemctl status wheelyard, journalctl -u wheelyard"
