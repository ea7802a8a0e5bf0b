//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreFileLimit makes a write past the limit of a file's size an error like any other, which a full disk is too:
// without it the signal ends the process.
func ignoreFileLimit() { signal.Ignore(syscall.SIGXFSZ) }
