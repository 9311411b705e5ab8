#!/bin/sh
# Runs every fuzz target of the project for the given number of inputs each.
#
# A number, never a time: go test's fuzzer can report its own deadline as a
# failure of the target when the time runs out (golang/go#75804, mended in 1.27).
set -eu
count=${1:-200000x}
case $count in
*[!0-9x]* | *x?* | x* | *[0-9])
	echo "fuzz: want a number of inputs such as 200000x, got '$count'" >&2
	exit 2
	;;
esac
for dir in $(go list -f '{{.Dir}}' ./...); do
	for target in $(grep -hso '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //'); do
		echo "fuzz: $target in ${dir#"$PWD"/}"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$count" -fuzzminimizetime 10x "$dir"
	done
done
