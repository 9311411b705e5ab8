#!/bin/sh
# Runs every fuzz target of the project for the given time each.
set -eu
time=${1:-10s}
for dir in $(go list -f '{{.Dir}}' ./...); do
	for target in $(grep -hso '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //'); do
		echo "fuzz: $target in ${dir#"$PWD"/}"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$dir"
	done
done
