#!/bin/sh
# Installs wheelyard from this clone as a service, or brings what is installed up to this clone:
#
#     sudo deploy/linux/install.sh
#
# Needs systemd, and Python 3.11 or newer with venv (Debian, Ubuntu: apt install python3-venv); another
# than `python3` by PYTHON=/usr/bin/python3.13. Settings that are there are never touched.
#
# Each run makes an environment of its own in /opt/wheelyard.d, and the link /opt/wheelyard leads to it
# once it is whole and takes the settings. The one before is kept; to go back, let the link lead there
# and restart.
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

# It is root who runs every Python below: no venv.py in the folder where this was typed is to be taken for Python's own (-I),
# nor what PYTHONPATH leads to, in the programs that pip starts either.
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
    # Not each Linux takes the group away with the user, so that it may be there from before.
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
# The build backend writes beside what it builds; the clone stays as it is.
mkdir "$work/source"
cp -R "$clone/pyproject.toml" "$clone/README.md" "$clone/LICENSE" "$clone/src" "$work/source/"
pip wheel --no-index --no-deps --no-build-isolation --wheel-dir "$work/dist" "$work/source"
pip --python "$target/bin/python" install --no-compile --no-index --no-deps "$work"/dist/*.whl
"$target/bin/python" -Im compileall -q "$target/lib"

# A Python below somebody's home, say, is one that the service cannot reach.
setpriv --reuid=wheelyard --regid=wheelyard --clear-groups -- "$target/bin/wheelyard" --version >&2 \
    || fail "the user wheelyard cannot run it: is $("$python" -I -c 'import sys; print(sys.base_prefix)') open to all?"

install -d -m 750 -o root -g wheelyard /etc/wheelyard
if [ ! -e /etc/wheelyard/wheelyard.toml ]; then
    install -m 640 -o root -g wheelyard "$here/wheelyard.toml" /etc/wheelyard/wheelyard.toml
    say "the settings are in /etc/wheelyard/wheelyard.toml"
fi
install -d -m 750 -o wheelyard -g wheelyard /var/lib/wheelyard
# The user may have had another number when this was installed before. A disk of its own has a lost+found of root's.
stranger=$(find /var/lib/wheelyard -mindepth 1 -maxdepth 1 ! -user wheelyard ! -name lost+found -print -quit)
[ -z "$stranger" ] || say "$stranger is not the user wheelyard's; if it is of the store: chown -R wheelyard: /var/lib/wheelyard"

# What is new has to take the settings that are there before anything leads to it; and the first time it has to make a token:
# else the server would make one itself, and print it where its log goes.
sed "s|/opt/wheelyard/bin/|$target/bin/|" "$here/wheelyard" >"$work/wheelyard"
sh "$work/wheelyard" config check >/dev/null \
    || fail "these settings stop what would be installed, so all is as it was; mend what the line above says, and run this again"
before=$(readlink /opt/wheelyard || true)
if [ -z "$before" ]; then
    sh "$work/wheelyard" token create first --can read,upload,manage \
        || fail "there is no first token, so nothing is installed; mend what the line above says, and run this again"
    say "that is the first token; it is shown this once"
fi

install -d /usr/local/bin /etc/systemd/system
install -m 755 "$here/wheelyard" /usr/local/bin/wheelyard
install -m 644 "$here/wheelyard.service" /etc/systemd/system/wheelyard.service
# sudo of RHEL looks into /usr/bin, and not into /usr/local/bin.
if grep -Ehs '^[^#]*secure_path' /etc/sudoers /etc/sudoers.d/* | grep -qv /usr/local/bin && [ ! -e /usr/bin/wheelyard ]; then
    ln -sfn /usr/local/bin/wheelyard /usr/bin/wheelyard || say "sudo does not find it: type sudo /usr/local/bin/wheelyard"
fi

# Put in place in one step, so that there is no moment without.
ln -sfn "$target" "$places/.next"
mv -T "$places/.next" /opt/wheelyard
is_done=yes
# All go but the one in use and the one before; not until what is new runs, since they may be the last that did.
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
# To systemd it runs once there is a process. What ends it, such as a port that is taken, comes up a moment later.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    systemctl is-active --quiet wheelyard || is_dead
done
tidy
say "done; it runs: systemctl status wheelyard, journalctl -u wheelyard"
