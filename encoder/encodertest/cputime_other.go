//go:build !unix

package encodertest

import "time"

// CPUTime falls back to the clock.
func CPUTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
