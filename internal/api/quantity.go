package api

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// Bytes is an amount of memory or storage. It is written as a number with an
// optional binary unit: `512m`, `4g`, `1073741824`. Zero means "the default".
type Bytes int64

// UnmarshalText parses an amount; it must be positive.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := string(text)
	n, err := units.RAMInBytes(s)
	if err != nil || n <= 0 || len(s) > 32 {
		return Invalidf("write a number and a unit, for example 512m or 4g", "size %s is not valid", quote(s)).By("input.size")
	}
	*b = Bytes(n)
	return nil
}

// String renders the amount so that UnmarshalText reads the same value back.
func (b Bytes) String() string {
	for i, unit := range []string{"t", "g", "m", "k"} {
		if size := Bytes(1) << (40 - 10*i); b >= size && b%size == 0 {
			return strconv.FormatInt(int64(b/size), 10) + unit
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText renders the amount as String does.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Duration is a length of time: `90s`, `8h`, `1h30m`, `2d`. Zero means "the
// default".
type Duration time.Duration

// UnmarshalText parses a length of time; it must be positive. Beside the units
// of [time.ParseDuration] it knows `d`, a day of 24 hours, as the last unit of
// a whole number.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	bad := Invalidf("write a number and a unit, for example 90s, 8h or 2d", "duration %s is not valid", quote(s)).By("input.duration")
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n == 0 {
			return bad
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return bad
	}
	*d = Duration(v)
	return nil
}

// Std returns the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String renders the duration without trailing zero units: "8h", not "8h0m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText renders the duration as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// CPUs is a share of processors in thousandths of one: `2`, `0.5`. Zero means
// "the default".
type CPUs int64

// UnmarshalText parses a decimal number of processors, 0.01 to 1024.
func (c *CPUs) UnmarshalText(text []byte) error {
	s := string(text)
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < 0.01 || f > 1024 || len(s) > 32 {
		return Invalidf("write a number of processors, for example 2 or 0.5", "cpus %s is not valid", quote(s)).By("input.cpus")
	}
	*c = CPUs(math.Round(f * 1000))
	return nil
}

// String renders the number of processors.
func (c CPUs) String() string { return strconv.FormatFloat(float64(c)/1000, 'f', -1, 64) }

// MarshalText renders the number as String does.
func (c CPUs) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Count is a number of things, at least 1. Zero means "the default".
type Count int64

// UnmarshalText parses a positive decimal number.
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || n < 1 {
		return Invalidf("write a whole number of at least 1", "number %s is not valid", quote(string(text))).By("input.number")
	}
	*c = Count(n)
	return nil
}

// String renders the number.
func (c Count) String() string { return strconv.FormatInt(int64(c), 10) }

// MarshalText renders the number as String does.
func (c Count) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Limits bounds what a session may use. A zero field means "the default" in a
// request and in a level, and "no bound of its own" in a ceiling.
type Limits struct {
	// Memory is RAM; swap is always off.
	Memory Bytes `json:"memory,omitzero" mapstructure:"memory"`
	// CPUs is processor time per wall-clock time.
	CPUs CPUs `json:"cpus,omitzero" mapstructure:"cpus"`
	// PIDs is the number of processes and threads.
	PIDs Count `json:"pids,omitzero" mapstructure:"pids"`
	// NoFile is the number of open files per process.
	NoFile Count `json:"nofile,omitzero" mapstructure:"nofile"`
	// Tmp is the size of /tmp; /run and /dev/shm have sizes of their own.
	Tmp Bytes `json:"tmp,omitzero" mapstructure:"tmp"`
	// TTL is how long the session lives, running or not.
	TTL Duration `json:"ttl,omitzero" mapstructure:"ttl"`
	// Idle is how long it lives without work: no command begun, and next to no
	// processor time used by what runs.
	Idle Duration `json:"idle,omitzero" mapstructure:"idle"`
}

// String renders the limits in one line for people.
func (l Limits) String() string {
	return fmt.Sprintf("memory %s, cpus %s, pids %s, nofile %s, tmp %s, ttl %s, idle %s", l.Memory, l.CPUs, l.PIDs, l.NoFile, l.Tmp, l.TTL, l.Idle)
}
