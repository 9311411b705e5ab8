//go:build !linux

package rig

import "syscall"

func mortal() *syscall.SysProcAttr { return nil }
