//go:build unix

package encodertest

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime is the processor time that this process has used: unlike the clock it does not count what others do on a busy
// machine.
func CPUTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
