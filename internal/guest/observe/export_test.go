package observe

import (
	"encoding/json"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Decoded returns a report after it was written and read again.
func Decoded(t *testing.T, r Report) Report {
	t.Helper()
	var got Report
	if err := json.Unmarshal(r.encode(), &got); err != nil {
		t.Fatalf("%v: %s", err, r.encode())
	}
	return got
}

// Address returns the bytes of a numeric address.
func Address(s string) string {
	_, to, err := parse(s)
	switch to := to.(type) {
	case *unix.SockaddrInet4:
		if err == nil {
			return fmt.Sprint(to.Addr)
		}
	case *unix.SockaddrInet6:
		if err == nil {
			return fmt.Sprint(to.Addr)
		}
	}
	return "error"
}
