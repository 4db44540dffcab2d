package guest

import (
	"time"

	"golang.org/x/sys/unix"
)

// Boottime returns the time since the machine was started, the time that it
// slept included (CLOCK_BOOTTIME, clock_gettime(2)). It is the clock of
// [Life.Deadline]: setting the wall clock does not move it, and a session sees
// the same value as the host, for Podman makes no time namespaces.
func Boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Linux has had this clock since 2.6.39, so this is not reached. The end
		// of time is the answer that ends sessions instead of keeping them.
		return 1<<63 - 1
	}
	return time.Duration(ts.Nano())
}
