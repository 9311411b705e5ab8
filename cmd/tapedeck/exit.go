package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/tapedeck/tapedeck/tape"
)

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDamaged     = 3 // gap or corruption found
	exitSlow        = 4 // stopped as a slow subscriber
	exitInterrupted = 130
)

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// damagedError says that the command did its work and found a gap or corruption.
type damagedError struct{ err error }

func (e damagedError) Error() string { return e.err.Error() }
func (e damagedError) Unwrap() error { return e.err }

func damagedf(format string, args ...any) error { return damagedError{fmt.Errorf(format, args...)} }

// hintError adds what to try to an error.
type hintError struct {
	err  error
	hint string
}

func (e hintError) Error() string { return e.err.Error() }
func (e hintError) Unwrap() error { return e.err }

func withHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return hintError{err, hint}
}

// exitCode prints the error, once and in one form, and maps it to a code.
func exitCode(err error, stderr io.Writer) int {
	var (
		usage   usageError
		damaged damagedError
		slow    slowError
		hint    hintError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, syscall.EPIPE):
		return exitDone // whoever read our output has had enough
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "tapedeck: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "tapedeck: %v\n", err)
	if errors.As(err, &hint) {
		fmt.Fprintf(stderr, "tapedeck: hint: %s\n", hint.hint)
	}
	switch {
	case errors.As(err, &usage), errors.Is(err, tape.ErrConfig):
		return exitUsage
	case errors.As(err, &damaged):
		return exitDamaged
	case errors.As(err, &slow):
		return exitSlow
	}
	return exitFailed
}
