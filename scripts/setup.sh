#!/bin/sh
# Installs what the build needs and the machine lacks, through the system's
# package manager. Says what to install where it does not know the system.
set -eu

need=''
command -v go >/dev/null 2>&1 || { echo "setup: Go 1.26 or newer is needed: https://go.dev/dl" >&2; exit 1; }
command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || need="$need compiler"
command -v pkg-config >/dev/null 2>&1 || need="$need pkg-config"
{ command -v pkg-config >/dev/null 2>&1 && pkg-config --atleast-version=4.3.3 libzmq; } || need="$need libzmq"
[ -n "$need" ] || exit 0

echo "setup: missing:$need" >&2
as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"
	elif command -v sudo >/dev/null 2>&1; then sudo "$@"
	else echo "setup: run as root, or install sudo: $*" >&2; exit 1
	fi
}
by_hand() {
	echo "setup: this system's package manager is not known here. Install a C compiler, pkg-config and libzmq 4.3.3 or newer with its headers, then run make again." >&2
	exit 1
}

if command -v apt-get >/dev/null 2>&1; then
	as_root apt-get update -qq
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev pkg-config libzmq3-dev >/dev/null
elif command -v dnf >/dev/null 2>&1; then
	as_root dnf install -y -q gcc pkgconf-pkg-config zeromq-devel
elif command -v apk >/dev/null 2>&1; then
	as_root apk add -q gcc musl-dev pkgconf zeromq-dev
elif command -v pacman >/dev/null 2>&1; then
	as_root pacman -S --needed --noconfirm gcc pkgconf zeromq
elif command -v brew >/dev/null 2>&1; then
	brew install pkg-config zeromq
else
	by_hand
fi
pkg-config --atleast-version=4.3.3 libzmq || { echo "setup: libzmq 4.3.3 or newer was not found after the installation" >&2; exit 1; }
