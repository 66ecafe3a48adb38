#!/bin/sh
# deploy.sh RELEASE: from now on releases/RELEASE serves. If it can't, the release before it serves on, and the status is 1.
# The service was started as /srv/app/current/app; `current` is a symbolic link to a folder in releases/.
set -eu
cd "${APP_HOME:-/srv/app}"
old=$(readlink current)
switch() { ln -sfn "$1" current.new && mv -T current.new current; }
switch "releases/$1"
"$old/app" restart --wait --control app.sock || { switch "$old"; exit 1; }
