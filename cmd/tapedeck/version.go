package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// linkedVersion is set by the Makefile from git.
var linkedVersion string

var version = buildVersion()

// buildVersion is what the Makefile said, or what the toolchain knows.
func buildVersion() string {
	if linkedVersion != "" {
		return linkedVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// program is how tapes and streams name what made them.
func program() string { return "tapedeck " + version }

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of tapedeck, Go and libzmq",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return newOutput(cmd).message("version", struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				Libzmq  string `json:"libzmq"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
			}{version, runtime.Version(), zsock.Version(), runtime.GOOS, runtime.GOARCH},
				fmt.Sprintf("tapedeck %s (%s, libzmq %s, %s/%s)", version, runtime.Version(), zsock.Version(), runtime.GOOS, runtime.GOARCH))
		},
	}
}
