#!/bin/sh
# deploy.sh RELEASE: serves releases/RELEASE from now on. If it can't serve, the release before it goes on, and the status is 1.
# The service was started as /srv/app/current/app; `current` is a symbolic link to a folder in releases/.
set -eu
cd "${APP_HOME:-/srv/app}"
old=$(readlink current)
switch() { ln -sfn "$1" current.new && mv -T current.new current; }
switch "releases/$1"
"$old/app" restart --wait || { switch "$old"; exit 1; }
