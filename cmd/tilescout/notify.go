package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"
)

// notifier tells systemd how the service is (sd_notify(3)). Without NOTIFY_SOCKET it tells nobody.
type notifier struct{ address string }

func newNotifier(lookup func(string) (string, bool)) notifier {
	address, _ := lookup("NOTIFY_SOCKET")
	return notifier{address}
}

// say sends a state like READY=1. Whether systemd hears it changes nothing for us.
func (n notifier) say(state string) {
	if n.address == "" {
		return
	}
	c, err := net.Dial("unixgram", n.address) // "@" in front is the abstract namespace, as net has it too
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}

// watchdog says that we are well, twice in the time that systemd waits for it, as long as alive does not fail.
func (n notifier) watchdog(ctx context.Context, lookup func(string) (string, bool), alive func(context.Context) error) {
	text, _ := lookup("WATCHDOG_USEC")
	micros, err := strconv.Atoi(text)
	if pid, ok := lookup("WATCHDOG_PID"); n.address == "" || err != nil || micros <= 0 || (ok && pid != strconv.Itoa(os.Getpid())) {
		return
	}
	every := time.Duration(micros) * time.Microsecond / 2
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		try, cancel := context.WithTimeout(ctx, every)
		if alive(try) == nil {
			n.say("WATCHDOG=1")
		}
		cancel()
	}
}
