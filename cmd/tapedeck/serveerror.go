package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/export"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
)

// commandErrors are errors of ours in the words of the bus. The first that fits
// counts.
var commandErrors = []struct {
	err  error
	code control.Code
	try  string
}{
	{replay.ErrBeyond, control.BeyondTape, "tapedeck deck state shows from when to when there is something; seek start goes to the beginning"},
	{replay.ErrFinished, control.Refused, "the deck has ended: play begins anew, close lets go of it"},
	{replay.ErrStopped, control.Refused, "the deck was stopped meanwhile: play begins anew"},
	{replay.ErrOverruled, control.Refused, "another command came before this one was through: tapedeck deck state shows what came of it"},
	{tape.ErrMarkName, control.BadRequest, "a mark's name has 1 to 64 bytes, all of them printable, without spaces"},
	{tape.ErrMarkExists, control.Refused, "tapedeck marks remove takes the old one away; or choose another name"},
	{tape.ErrNoMark, control.NotFound, "tapedeck marks list shows the marks of a tape"},
	{tape.ErrNotTape, control.NotFound, "tapedeck tapes list shows what there is"},
	{tape.ErrExists, control.Refused, "choose another name, or, to go on with a recording, append"},
	{tape.ErrLocked, control.Refused, "another process writes it: wait until it has ended"},
	{tape.ErrConfig, control.BadRequest, ""},
	{syscall.ENOTDIR, control.NotFound, "tapedeck tapes list shows what there is"},
	{fs.ErrNotExist, control.NotFound, "tapedeck tapes list shows what there is"},
	{fs.ErrExist, control.Refused, "choose another name"},
	{fs.ErrPermission, control.Refused, "the serving process may not do that to the file"},
	{syscall.EADDRINUSE, control.Refused, "somebody else is bound there: choose another endpoint, or tcp://127.0.0.1:* for a free port"},
	{syscall.ENOSPC, control.Failed, "the disk is full"},
	{export.ErrTarget, control.BadRequest, "the formats are those of tapedeck export --help"},
	{export.ErrOption, control.BadRequest, ""},
	{export.ErrEncoding, control.Refused, "csv, jsonl and parquet are written of any records"},
}

// commandError says an error in the words of the bus. The end of the context stays
// what it is: who serves the command knows what that means.
func commandError(err error) error {
	var (
		told    *control.Error
		usage   usageError
		corrupt *tape.CorruptError
		hint    hintError
		try     string
	)
	switch {
	case err == nil, errors.As(err, &told), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &hint):
		try = hint.hint
	}
	code := control.Failed
	switch {
	case errors.As(err, &usage):
		code = control.BadRequest
	case errors.As(err, &corrupt):
		if try == "" {
			try = "tapedeck tapes verify shows all of the damage"
		}
	default:
		for _, e := range commandErrors {
			if errors.Is(err, e.err) {
				code = e.code
				if try == "" || e.try != "" {
					try = e.try
				}
				break
			}
		}
	}
	if try == "" && code == control.BadRequest {
		try = "docs/CONTROL.md has what every command takes"
	}
	return &control.Error{Code: code, Reason: firstLine(err.Error()), Try: try}
}

// firstLine joins an error of several lines to one.
func firstLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }
